"""Reads files in the format of COCO's `person_keypoints_*.json`, as labelling tools write them.

A field that a tool leaves out or fills with a placeholder is taken from the rest of the record if
that says what is meant: a box from the labelled joints, an area from the box, the number of
labelled joints from their visibilities. Every other fault is told by file, record and field.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from examples.pose.datasets.coco_keypoints.joint_columns import JointColumns
from examples.pose.datasets.official_files import Root
from examples.pose.datasets.pose_features import NOT_LABELLED, OCCLUDED, VISIBLE
from examples.pose.datasets.preparation import Broken

# A box made from joints is so much larger than they need, on every side, as a part of the longer.
_BOX_MARGIN = 0.15


class FieldError(Exception):
    """A field of a record has no meaning; the message begins with the field's name."""


@dataclasses.dataclass(frozen=True)
class Photograph:
    """A record of `images`.

    Attributes:
        where: The record, for messages.
        id: Its number.
        name: Its path below the folder of photographs, with `/`.
        size: (width, height), or None where the file does not say.
    """

    where: str
    id: int
    name: str
    size: tuple[int, int] | None

    def check_size(self, width: int, height: int) -> None:
        """Checks that labels and picture have the same pixels."""
        if self.size not in (None, (width, height)):
            raise FieldError(
                f"`width` and `height` are {self.size[0]} x {self.size[1]}, but {self.name} has "
                f"{width} x {height} pixels: the labels are those of another version of it"
            )

    def check_stored(self, people: Iterable[Person]) -> None:
        """Checks that joints are not those of the picture turned, whose size is the other way."""
        width, height = self.size
        places = np.concatenate([p.joints[p.visibility != NOT_LABELLED] for p in people])
        if (places <= (height, width)).all() and not (places <= (width, height)).all():
            raise FieldError(
                f"`width` and `height` are {width} x {height}, the size before the EXIF "
                f"orientation is applied, but the joints fit only {height} x {width}, the size "
                "after"
            )


@dataclasses.dataclass(frozen=True)
class Person:
    """A record of `annotations` with labelled joints.

    Attributes:
        where: The record, for messages.
        id: Its number; None where it has none.
        image_id: The photograph's number.
        joints: float64 `[J, 2]`; 0 where not labelled.
        visibility: uint8 `[J]`.
        bbox: `bbox` as it stands, whatever that is.
        area: `area` if that is a positive number, else None.
        is_crowd: Whether it stands for a group.
    """

    where: str
    id: int | None
    image_id: int
    joints: np.ndarray
    visibility: np.ndarray
    bbox: Any
    area: float | None
    is_crowd: bool

    def inside(self, width: int, height: int) -> Person:
        """The person with all that is labelled inside the photograph: joints beyond it are not.

        `bbox` becomes `[x, y, width, height]`, made from the joints where it is degenerate or
        misses the photograph or the joints; `area` becomes a number.

        Raises:
            FieldError: No joint is inside, or there is nothing to make a box of.
        """
        x, y = self.joints.T
        seen = self.visibility != NOT_LABELLED
        kept = seen & (x >= -1) & (x <= width) & (y >= -1) & (y <= height)
        if not kept.any():
            raise FieldError(
                f"`keypoints` are all outside the photograph of {width} x {height} pixels"
            )
        box = _usable_box(self.bbox, width, height)
        if box is None or not _holds_most(box, self.joints[kept]):
            box = _box_around(self.joints[kept], width, height) or box
        if box is None:
            raise FieldError(
                f"`bbox` is {_short(self.bbox)}, and the labelled joints lie too close together to "
                "say what is meant"
            )
        return dataclasses.replace(
            self,
            joints=np.where(kept[:, None], self.joints, 0.0),
            visibility=np.where(kept, self.visibility, NOT_LABELLED).astype(np.uint8),
            bbox=box,
            area=self.area or box[2] * box[3],
        )


def _usable_box(bbox: Any, width: int, height: int) -> list[float] | None:
    """The box if it has at least a pixel's size and overlaps the photograph."""
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(map(_is_number, bbox)):
        return None
    x, y, w, h = map(float, bbox)
    overlaps = x < width and y < height and x + w > 0 and y + h > 0
    return [x, y, w, h] if w >= 1 and h >= 1 and overlaps else None


def _holds_most(box: Sequence[float], joints: np.ndarray) -> bool:
    """Whether at least half of the joints are in the box or close to it."""
    low, sides = np.reshape(box, (2, 2))
    near = ((joints >= low - sides / 2) & (joints <= low + 1.5 * sides)).all(axis=1)
    return bool(near.mean() >= 0.5)


def _box_around(joints: np.ndarray, width: int, height: int) -> list[float] | None:
    """A box around joints with a margin, inside the photograph; None if they are in one place."""
    low, high = joints.min(axis=0), joints.max(axis=0)
    longer = (high - low).max()
    if longer < 1:
        return None
    low = np.maximum(low - _BOX_MARGIN * longer, 0)
    high = np.minimum(high + _BOX_MARGIN * longer, (width, height))
    return [*low.tolist(), *np.maximum(high - low, 1).tolist()]


def read_labels(
    path: Root, joint_names: Sequence[str], broken: Broken | None = None
) -> tuple[dict[int, Photograph], list[Person]]:
    """Reads a `person_keypoints_*.json`.

    Args:
        path: The file.
        joint_names: The joints that are wanted.
        broken: Collects the records that cannot be used. Without it, the first raises.

    Returns:
        The photographs by id, and the people with labelled joints, all with different ids.

    Raises:
        ValueError: It is not such a file, or (without `broken`) a record cannot be used.
    """
    own = Broken() if broken is None else broken
    content = _parse(path)
    photographs, refused = _read_photographs(path, _records(content, "images", path), own)
    columns = JointColumns(content, path, joint_names)
    people = []
    for index, record in enumerate(_records(content, "annotations", path)):
        where = f"annotations[{index}]"
        try:
            person = _read_person(record, where, columns, len(joint_names))
            if person is not None and person.image_id in refused:
                continue
            if person is not None and person.image_id not in photographs:
                raise FieldError(f"`image_id` is {person.image_id}, which no image has")
        except FieldError as error:
            own.add(_message(path, "person", where, record, error))
        else:
            people += [] if person is None else [person]
    if broken is None:
        own.check()
    return photographs, list(_with_ids(path, people, own))


def fault(path: Root, record: Photograph | Person, error: FieldError) -> ValueError:
    """The error for a record whose fault shows with its photograph at hand."""
    kind = "image" if isinstance(record, Photograph) else "person"
    return ValueError(_message(path, kind, record.where, {"id": record.id}, error))


def _message(path: Root, kind: str, where: str, record: Any, error: FieldError) -> str:
    number = record.get("id") if isinstance(record, dict) else None
    identified = where if number is None else f"{where} (id {_short(number)})"
    return f"{path} has {'an' if kind == 'image' else 'a'} {kind} that cannot be used: " + (
        f"{identified}: {error}."
    )


def _parse(path: Root) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError(f"its top level is a {type(content).__name__}, not an object")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not COCO's JSON file of person keypoints: {error}.") from None
    except Exception as error:  # Of a zip file, or of the disk.
        raise ValueError(f"{path} cannot be read: {error!r}.") from None
    return content


def _records(content: Mapping[str, Any], name: str, path: Root) -> list[Any]:
    records = content.get(name)
    if not isinstance(records, list):
        raise ValueError(
            f"{path} is not COCO's JSON file of person keypoints: it has no list `{name}`."
        )
    return records


def _read_photographs(
    path: Root, records: list[Any], broken: Broken
) -> tuple[dict[int, Photograph], set[Any]]:
    """The photographs by id, and the ids of those that cannot be used."""
    photographs: dict[int, Photograph] = {}
    refused = set()
    by_name: dict[str, str] = {}
    for index, record in enumerate(records):
        try:
            found = _read_photograph(record, f"images[{index}]")
            # Two paths elsewhere can end in the same name.
            given = str(record.get("file_name"))
            if by_name.setdefault(found.name, given) != given:
                raise FieldError(f"`file_name` {given} and {by_name[found.name]} have the same end")
            other = photographs.setdefault(found.id, found)
            if other.name != found.name:
                raise FieldError(f"`id` {found.id} is also that of {other.where}, {other.name}")
        except FieldError as error:
            number = record.get("id") if isinstance(record, dict) else None
            refused.update([number] if isinstance(number, int) else [])
            broken.add(_message(path, "image", f"images[{index}]", record, error))
    return photographs, refused


def _read_photograph(record: Any, where: str) -> Photograph:
    _check_record(record)
    name = record.get("file_name") or record.get("coco_url")
    if not isinstance(name, str) or not _relative(name):
        raise FieldError(f"`file_name` must be a name, got {_short(record.get('file_name'))}")
    sides = [record.get(side) for side in ("width", "height")]
    known = all(_is_number(side) and side > 0 for side in sides)
    return Photograph(
        where=where,
        id=_integer(record, "id"),
        name=_relative(name),
        size=(int(sides[0]), int(sides[1])) if known else None,
    )


def _relative(name: str) -> str:
    """A path below the folder of photographs; of a path or address elsewhere the file's name."""
    if re.match(r"\w+://", name):
        name = urllib.parse.unquote(urllib.parse.urlsplit(name).path)
    name = name.replace("\\", "/")
    elsewhere = name.startswith("/") or re.match(r"[A-Za-z]:/", name)
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return "/".join(parts[-1:] if elsewhere or ".." in parts else parts)


def _read_person(record: Any, where: str, columns: JointColumns, num_joints: int) -> Person | None:
    """The person of an annotation; None if it labels no joint."""
    _check_record(record)
    keypoints = record.get("keypoints")
    if not keypoints and not record.get("num_keypoints"):
        return None
    category = record.get("category_id")
    try:
        names = columns.of(category)
    except KeyError:
        raise FieldError(f"`category_id` is {_short(category)}, which no category has") from None
    if names is None:
        return None
    joints, visibility = np.zeros((num_joints, 2)), np.zeros(num_joints, np.uint8)
    for joint, (x, y, flag) in zip(names, _triples(keypoints, len(names)), strict=True):
        if joint is not None and flag != NOT_LABELLED:
            joints[joint], visibility[joint] = (x, y), flag
    if not visibility.any():
        return None
    area = record.get("area")
    return Person(
        where=where,
        id=None if record.get("id") is None else _integer(record, "id"),
        image_id=_integer(record, "image_id"),
        joints=joints,
        visibility=visibility,
        bbox=record.get("bbox"),
        area=float(area) if _is_number(area) and area > 0 else None,
        is_crowd=_is_crowd(record.get("iscrowd")),
    )


def _check_record(record: Any) -> None:
    if not isinstance(record, dict):
        raise FieldError(f"the record must be an object, got {_short(record)}")


def _triples(keypoints: Any, count: int) -> Iterator[tuple[float, float, int]]:
    """Place and visibility of each joint of a flat list, or of a list of lists."""
    if isinstance(keypoints, list) and all(isinstance(joint, list) for joint in keypoints):
        keypoints = [value for joint in keypoints for value in joint]
    if not isinstance(keypoints, list) or len(keypoints) != 3 * count:
        got = f"{len(keypoints)} values" if isinstance(keypoints, list) else _short(keypoints)
        raise FieldError(f"`keypoints` must hold x, y and visibility of {count} joints, got {got}")
    for index in range(count):
        x, y, flag = keypoints[3 * index : 3 * index + 3]
        flag = _visibility(x, y, flag, index)
        if flag != NOT_LABELLED and not (_is_number(x) and _is_number(y)):
            raise FieldError(
                f"`keypoints` of joint {index} must be numbers, got {_short([x, y, flag])}"
            )
        yield x, y, flag


def _visibility(x: Any, y: Any, flag: Any, index: int) -> int:
    """The flag 0, 1 or 2, of any type of number. True stands for visible, False for not."""
    if flag is True:
        return VISIBLE
    if flag is False or flag is None:
        nowhere = not (_is_number(x) and _is_number(y)) or x == y == 0
        if nowhere:
            return NOT_LABELLED
        if flag is False:
            return OCCLUDED
    if not _is_number(flag) or flag not in (NOT_LABELLED, OCCLUDED, VISIBLE):
        raise FieldError(
            f"`keypoints` has the visibility {_short(flag)} for joint {index}, expected 0, 1 or 2"
        )
    return int(flag)


def _is_crowd(value: Any) -> bool:
    if value is not None and not (isinstance(value, int | float) and value in (0, 1)):
        raise FieldError(f"`iscrowd` must be 0 or 1, got {_short(value)}")
    return bool(value)


def _is_number(value: Any) -> bool:
    """Whether a JSON value is a number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _integer(record: Mapping[str, Any], field: str) -> int:
    value = record.get(field)
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d{1,19}\s*", value):
        value = int(value)
    exact = _is_number(value) and (isinstance(value, int) or abs(value) < 2**53)
    if not exact or value != int(value) or not -(2**63) <= value < 2**63:
        raise FieldError(f"`{field}` must be an integer, got {_short(value)}")
    return int(value)


def _with_ids(path: Root, people: list[Person], broken: Broken) -> Iterator[Person]:
    """The people with the ids that are missing filled in, without those whose id is taken."""
    taken: dict[int, Person] = {}
    for person in people:
        if person.id is not None:
            other = taken.setdefault(person.id, person)
            if other is not person:
                error = FieldError(f"`id` {person.id} is also that of {other.where}")
                broken.add(str(fault(path, person, error)))
    free = (number for number in itertools.count(1) if number not in taken)
    for person in people:
        if person.id is None:
            yield dataclasses.replace(person, id=next(free))
        elif taken[person.id] is person:
            yield person


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
