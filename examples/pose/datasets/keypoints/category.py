"""Reads names, limbs and mirror pairs of joints from the category of a COCO-style file."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from examples.pose.datasets.coco_keypoints import annotations
from examples.pose.datasets.coco_keypoints.joint_columns import canonical_name
from examples.pose.datasets.coco_keypoints.records import FieldError
from examples.pose.datasets.official_files import Root
from examples.pose.datasets.skeletons import NOT_LABELLED, Skeleton

_OPPOSITE = {"left": "right", "right": "left"}
# If a skeleton has both joints, PCK divides errors by the distance between them, as for LSP.
_TORSO = ("left_shoulder", "right_hip")


def read_skeleton(path: Root, flip_pairs: str | None = None) -> Skeleton:
    """Reads the skeleton of a COCO-style file.

    Args:
        path: The file.
        flip_pairs: Pairs of joint names such as `"left_ear:right_ear,thumb:finger"`. None: joints
            whose names differ only in left and right.

    Raises:
        ValueError: It is not such a file, it has no joints, its categories have different joints,
            or `flip_pairs` does not name two joints in each pair.
    """
    content = annotations.parse(path)
    category = _category(content, path)
    names = _joint_names(category, content, path)
    index = {name: i for i, name in enumerate(names)}
    torso = tuple(map(index.get, _TORSO))
    measurable = None not in torso and _label_most(content, torso, len(names))
    return Skeleton(
        joint_names=tuple(names),
        flip_pairs=_pairs_by_name(index) if flip_pairs is None else _given(flip_pairs, index),
        limbs=_limbs(category.get("skeleton"), len(names), path),
        pck_reference=torso if measurable else None,
    )


def _category(content: Mapping[str, Any], path: Root) -> Mapping[str, Any]:
    """The category with joints; an empty one if no category names joints."""
    categories = content.get("categories") or []
    if not isinstance(categories, list) or not all(isinstance(c, dict) for c in categories):
        raise ValueError(f"{path}: `categories` must be a list of objects.")
    named = [category for category in categories if category.get("keypoints")]
    # Tools may write all categories of a project to each file.
    used = {
        str(record.get("category_id"))
        for record in content.get("annotations") or []
        if isinstance(record, dict) and record.get("keypoints")
    }
    named = [category for category in named if str(category.get("id")) in used] or named
    for category in named[1:]:
        if category["keypoints"] != named[0]["keypoints"]:
            raise ValueError(
                f"{path}: the categories {named[0].get('name')!r} and {category.get('name')!r} "
                "have different `keypoints`. A network finds one set of joints: give a file for "
                "each."
            )
    return named[0] if named else {}


def _joint_names(category: Mapping[str, Any], content: Mapping[str, Any], path: Root) -> list[str]:
    names = category.get("keypoints") or _numbered(content, path)
    if not isinstance(names, list) or not all(isinstance(n, str) and n.strip() for n in names):
        raise ValueError(f"{path}: `keypoints` of the category must be a list of names.")
    if len(set(names)) < len(names):
        raise ValueError(f"{path}: `keypoints` of the category has a name twice.")
    standard = [canonical_name(name) for name in names]
    # "L1" and "R" may be no left and right: sides count only if the other side is there too.
    unpaired = {s for s in standard if _has_side(s) and _mirrored(s, standard) is None}
    kept = [
        name if not s or s in unpaired or standard.count(s) > 1 else s
        for name, s in zip(names, standard, strict=True)
    ]
    return kept if len(set(kept)) == len(kept) else names


def _label_most(content: Mapping[str, Any], joints: Sequence[int], count: int) -> bool:
    """Whether at least half of the annotations with labels, of `count` joints, label all `joints`.

    Faulty annotations do not count. They are reported when people are read.
    """
    complete = []
    for record in content.get("annotations") or []:
        keypoints = record.get("keypoints") if isinstance(record, dict) else None
        try:
            labelled = [flag != NOT_LABELLED for *_, flag in annotations.triples(keypoints, count)]
        except FieldError:
            continue
        if any(labelled):
            complete.append(all(labelled[joint] for joint in joints))
    return 2 * sum(complete) >= len(complete)


def _numbered(content: Mapping[str, Any], path: Root) -> list[str]:
    """Names for joints without names, as many as the first annotation with joints has."""
    for record in content.get("annotations") or []:
        keypoints = record.get("keypoints") if isinstance(record, dict) else None
        if isinstance(keypoints, list) and keypoints:
            count = len(keypoints) if isinstance(keypoints[0], list) else len(keypoints) // 3
            return [f"joint_{number}" for number in range(1, count + 1)]
    raise ValueError(f"{path} has no keypoints: neither its categories nor its annotations do.")


def _has_side(name: str) -> bool:
    return name.partition("_")[0] in _OPPOSITE


def _mirrored(name: str, names: Collection[str]) -> str | None:
    """The joint among `names` on the other side; None if there is none.

    The other side of `left_right_eye_corner`, the right corner of the left eye, is
    `right_left_eye_corner`. But a second side may mean something else, such as "rear".
    """
    words = name.split("_")
    sides = len(list(itertools.takewhile(_OPPOSITE.__contains__, words)))
    for count in (sides, 1):
        other = "_".join([*(_OPPOSITE.get(w, w) for w in words[:count]), *words[count:]])
        if other in names:
            return other
    return None


def _pairs_by_name(index: Mapping[str, int]) -> tuple[tuple[int, int], ...]:
    """Pairs such as `left_hip` and `right_hip`, or `lhip` and `rhip`."""
    pairs = [(name, _mirrored(name, index)) for name in index if name.partition("_")[0] == "left"]
    others = [name for name in index if not _has_side(name)]
    pairs += [(name, f"r{name[1:]}") for name in others if name[:1] == "l"]
    return tuple(
        (index[left], index[right])
        for left, right in pairs
        if right in index and _has_side(left) == _has_side(right) and left != right
    )


def _given(flip_pairs: str, index: Mapping[str, int]) -> tuple[tuple[int, int], ...]:
    known = {**{canonical_name(name): i for name, i in index.items()}, **index}
    pairs = [
        tuple(known.get(name.strip(), known.get(canonical_name(name))) for name in pair.split(":"))
        for pair in flip_pairs.split(",")
    ]
    joints = [joint for pair in pairs for joint in pair]
    if None in joints or any(len(p) != 2 for p in pairs) or len(set(joints)) < len(joints):
        raise ValueError(
            f"--flip_pairs must be pairs of different joints as in 'A:B,C:D', got {flip_pairs!r}. "
            f"The joints are {', '.join(index)}."
        )
    return tuple(pairs)


def _limbs(skeleton: Any, count: int, path: Root) -> tuple[tuple[int, int], ...]:
    """Limbs as pairs of indices. COCO counts joints from 1, some tools from 0."""
    if not skeleton:
        return ()
    first = 0 if _all_pairs(skeleton, range(count)) and _holds_zero(skeleton) else 1
    if not _all_pairs(skeleton, range(first, first + count)):
        raise ValueError(
            f"{path}: `skeleton` of the category must be pairs of joint numbers from 1 to {count}, "
            f"got {skeleton!r}."
        )
    return tuple((start - first, end - first) for start, end in skeleton)


def _all_pairs(skeleton: Any, numbers: Sequence[int]) -> bool:
    return isinstance(skeleton, list) and all(
        isinstance(limb, list) and len(limb) == 2 and all(n in numbers for n in limb)
        for limb in skeleton
    )


def _holds_zero(skeleton: list[list[int]]) -> bool:
    return any(0 in limb for limb in skeleton)
