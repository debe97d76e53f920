"""Maps the triples of `keypoints` in a COCO-style file to joints, by the names in its category."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from examples.pose.datasets.official_files import Root

_SIDES = {"l": "left", "r": "right"}


class JointColumns:
    """Maps the triples (x, y, visibility) of `keypoints` to joints, for each category.

    Args:
        content: The content of the file.
        path: The file, for messages.
        joint_names: Names of the joints to read. A category without a list of names is assumed to
            have exactly these.

    Raises:
        ValueError: No category has any of these joints, one has a joint twice, or two categories
            with different joints have the same id.
    """

    def __init__(self, content: Mapping[str, Any], path: Root, joint_names: Sequence[str]):
        self._all_joints = list(range(len(joint_names)))
        # By category id: for each joint of the category its index in `joint_names`, or None.
        self._columns: dict[Any, list[int | None]] = {}
        categories = content.get("categories") or []
        if not isinstance(categories, list) or not all(isinstance(c, dict) for c in categories):
            raise ValueError(f"{path}: `categories` must be a list of objects.")
        self._known = {_hashable(category.get("id")) for category in categories}
        named = [category for category in categories if category.get("keypoints")]
        for category in named:
            columns = _columns(category, path, joint_names)
            if any(column is not None for column in columns):
                number = _hashable(category.get("id"))
                if self._columns.setdefault(number, columns) != columns:
                    raise ValueError(
                        f"{path}: two categories have the `id` {number!r} and different "
                        "`keypoints`."
                    )
        if named and not self._columns:
            raise ValueError(
                f"{path}: no category has joints that are known here. Category "
                f"{named[0].get('name')!r} has {_listed(named[0]['keypoints'])}; known are "
                f"{', '.join(joint_names)}."
            )

    def of(self, category_id: Any) -> list[int | None] | None:
        """The index in `joint_names` of each triple, or None for triples to skip.

        Returns None for a category that does not have these joints, such as one of animals.

        Raises:
            KeyError: There is no such category.
        """
        category_id = _hashable(category_id)
        if category_id is None and len(self._columns or self._known) == 1:
            return next(iter(self._columns.values()), self._all_joints)
        if self._known and category_id not in self._known:
            raise KeyError(category_id)
        return self._columns.get(category_id) if self._columns else self._all_joints


def _hashable(value: Any) -> Any:
    """A category's id as a key of a dict. `"1"` becomes 1."""
    if isinstance(value, str) and re.fullmatch(r"\d{1,18}", value):
        return int(value)
    return value if isinstance(value, int | float | str | None) else repr(value)


def _columns(
    category: Mapping[str, Any], path: Root, joint_names: Sequence[str]
) -> list[int | None]:
    names = category["keypoints"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"{path}: `keypoints` of category {category.get('name')!r} must be a list of names, "
            f"got {names!r}."
        )
    index = {name: i for i, name in enumerate(joint_names)}
    canonical = {canonical_name(name): i for name, i in index.items()}
    columns = [index.get(name, canonical.get(canonical_name(name))) for name in names]
    found = [column for column in columns if column is not None]
    if len(found) > len(set(found)):
        raise ValueError(
            f"{path}: category {category.get('name')!r} has a joint twice in {_listed(names)}."
        )
    unknown = [name for name, column in zip(names, columns, strict=True) if column is None]
    missing = [name for name in joint_names if index[name] not in found]
    if found and (unknown or missing):
        print(
            f"note: {path}: category {category.get('name')!r} "
            + " and ".join(
                [f"has {_listed(unknown)}, which are left out"] * bool(unknown)
                + [f"lacks {_listed(missing)}, which stay unlabelled"] * bool(missing)
            ),
            file=sys.stderr,
        )
    return columns


def canonical_name(name: str) -> str:
    """The name in lower case, with `_` between words, and with the side first.

    `left_shoulder` for "Left Shoulder", "leftShoulder", "leftshoulder", "l-shoulder" and
    "shoulder_left".
    """
    spaced = re.sub(r"([a-z])([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3 \2\4", name)
    words = [word.lower() for word in re.findall(r"[^\W\d_]+|\d+", spaced)]
    if not any(word in (*_SIDES, *_SIDES.values()) for word in words):
        glued = re.compile(r"^(left|right)(?=.)|(?<=.)(left|right)$")
        words = glued.sub(r" \1\2 ", " ".join(words)).split()
    words = [_SIDES.get(word, word) for word in words]
    return "_".join(sorted(words, key=lambda word: word not in _SIDES.values()))


def _listed(names: Any) -> str:
    return ", ".join(map(str, names)) if isinstance(names, list) else repr(names)
