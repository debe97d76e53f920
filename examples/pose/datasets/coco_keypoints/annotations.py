"""Reads files in the format of COCO's `person_keypoints_*.json`, also those of labelling tools.

Some tools omit a field or fill it with a placeholder. Such a field is derived from the rest of the
record if possible: the box from the labelled joints, the area from the box, the number of labelled
joints from their visibility. Every other fault is reported with the file, record and field.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import json
import re
import sys
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from examples.pose.datasets.coco_keypoints.joint_columns import JointColumns
from examples.pose.datasets.coco_keypoints.records import (
    FieldError,
    Person,
    Photograph,
    is_number,
    short,
)
from examples.pose.datasets.official_files import Root
from examples.pose.datasets.preparation import Broken
from examples.pose.datasets.skeletons import NOT_LABELLED, OCCLUDED, VISIBLE

# A number stored as text.
_NUMBER = re.compile(r"\s*\d{1,9}(\.\d*)?\s*")


def read_labels(
    path: Root, joint_names: Sequence[str], broken: Broken | None = None
) -> tuple[dict[int, Photograph], list[Person]]:
    """Reads a `person_keypoints_*.json`.

    Args:
        path: The file.
        joint_names: Names of the joints to read.
        broken: Collects records that cannot be used. If it is None, such records raise a
            `ValueError`.

    Returns:
        The photographs by id, and the people with labelled joints. Ids of people are unique.

    Raises:
        ValueError: It is not such a file, or (without `broken`) a record cannot be used.
    """
    collected = Broken() if broken is None else broken
    content = parse(path)
    photographs, unusable = _read_photographs(path, _records(content, "images", path), collected)
    columns = JointColumns(content, path, joint_names)
    people = []
    for index, record in enumerate(_records(content, "annotations", path)):
        where = f"annotations[{index}]"
        try:
            person = _read_person(record, where, columns, len(joint_names))
            if person is not None and person.image_id in unusable:
                continue
            if person is not None and person.image_id not in photographs:
                raise FieldError(f"`image_id` is {person.image_id}, which no image has")
        except FieldError as error:
            collected.add(_message(path, "person", where, record, error))
        else:
            people += [] if person is None else [person]
    people = list(_with_ids(path, people, collected))
    if broken is None:
        collected.check()
    compared = {i: photographs[i].compared_with(g) for i, g in by_image(people).items()}
    return {**photographs, **compared}, people


def by_image(people: Iterable[Person]) -> dict[int, list[Person]]:
    """Groups people by the id of their photograph."""
    groups: dict[int, list[Person]] = {}
    for person in people:
        groups.setdefault(person.image_id, []).append(person)
    return groups


def fault(path: Root, record: Photograph | Person, error: FieldError) -> ValueError:
    """Returns the error for a record whose fault was found when its photograph was read."""
    kind = "image" if isinstance(record, Photograph) else "person"
    return ValueError(_message(path, kind, record.where, {"id": record.id}, error))


def _message(path: Root, kind: str, where: str, record: Any, error: FieldError) -> str:
    number = record.get("id") if isinstance(record, dict) else None
    identified = where if number is None else f"{where} (id {short(number)})"
    return f"{path} has {'an' if kind == 'image' else 'a'} {kind} that cannot be used: " + (
        f"{identified}: {error}."
    )


def parse(path: Root) -> dict[str, Any]:
    """Reads a COCO-style file.

    Raises:
        ValueError: It is not a JSON object.
    """
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError(f"its top level is a {type(content).__name__}, not an object")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not COCO's JSON file of person keypoints: {error}.") from None
    except Exception as error:  # From a zip file or the disk.
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
    """Returns the photographs by id, and the ids of those that cannot be used."""
    photographs: dict[int, Photograph] = {}
    unusable = set()
    by_name: dict[str, str] = {}
    for index, record in enumerate(records):
        try:
            found = _read_photograph(record, f"images[{index}]")
            # `_relative` keeps only the last component of an absolute path, so names can collide.
            file_name = str(record.get("file_name"))
            earlier_name = by_name.setdefault(found.name, file_name)
            if earlier_name != file_name:
                raise FieldError(
                    f"`file_name` {file_name} and {earlier_name} both mean {found.name}"
                )
            earlier = photographs.setdefault(found.id, found)
            if earlier.name != found.name:
                raise FieldError(f"`id` {found.id} is also that of {earlier.where}, {earlier.name}")
            if earlier.size != found.size:
                raise FieldError(f"`width` and `height` differ from those of {earlier.where}")
        except FieldError as error:
            number = record.get("id") if isinstance(record, dict) else None
            unusable.update([number] if isinstance(number, int) else [])
            broken.add(_message(path, "image", f"images[{index}]", record, error))
    _note_several_ids(path, photographs.values())
    return photographs, unusable


def _note_several_ids(path: Root, photographs: Iterable[Photograph]) -> None:
    """Prints a note if photographs with different ids have one name."""
    ids = collections.defaultdict(list)
    for photograph in photographs:
        ids[photograph.name].append(photograph.id)
    several = {name: found for name, found in ids.items() if len(found) > 1}
    if several:
        name, (first, second, *_) = next(iter(several.items()))
        print(
            f"note: {path}: {len(several)} pictures have several `id`, such as {first} and "
            f"{second} for {name}. If these are different pictures, give them different names.",
            file=sys.stderr,
        )


def _read_photograph(record: Any, where: str) -> Photograph:
    _check_record(record)
    name = record.get("file_name") or record.get("coco_url")
    if not isinstance(name, str) or not _relative(name):
        raise FieldError(f"`file_name` must be a name, got {short(record.get('file_name'))}")
    return Photograph(
        where=where,
        id=_integer(record, "id"),
        name=_relative(name),
        size=_size(record),
    )


def _size(record: Mapping[str, Any]) -> tuple[int, int] | None:
    """(width, height) from numbers or text; None if the record does not give them."""
    sides = [record.get("width"), record.get("height")]
    sides = [float(s) if isinstance(s, str) and _NUMBER.fullmatch(s) else s for s in sides]
    known = all(is_number(side) and side > 0 for side in sides)
    return (int(sides[0]), int(sides[1])) if known else None


def _relative(name: str) -> str:
    """A path relative to the folder of photographs.

    Of an absolute path, a URL or a path with `..`, only the file name is kept. Label Studio writes
    addresses with or without the host, such as `/data/local-files/?d=folder/name.jpg`.
    """
    if re.match(r"\w+://|/data/(upload|local-files)/", name):
        url = urllib.parse.urlsplit(name)
        (name,) = urllib.parse.parse_qs(url.query).get("d") or [urllib.parse.unquote(url.path)]
    name = name.replace("\\", "/")
    elsewhere = name.startswith("/") or re.match(r"[A-Za-z]:/", name)
    parts = [part for part in name.split("/") if part not in ("", ".")]
    name = "/".join(parts[-1:] if elsewhere or ".." in parts else parts)
    return "" if name == ".." else name


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
        raise FieldError(f"`category_id` is {short(category)}, which no category has") from None
    if names is None:
        return None
    joints, visibility = np.zeros((num_joints, 2)), np.zeros(num_joints, np.uint8)
    for joint, (x, y, flag) in zip(names, triples(keypoints, len(names)), strict=True):
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
        area=float(area) if is_number(area) and area > 0 else None,
        is_crowd=_is_crowd(record.get("iscrowd")),
    )


def _check_record(record: Any) -> None:
    if not isinstance(record, dict):
        raise FieldError(f"the record must be an object, got {short(record)}")


def triples(keypoints: Any, count: int) -> Iterator[tuple[float, float, int]]:
    """Yields x, y and visibility of each joint, from a flat list or a list of lists.

    Raises:
        FieldError: `keypoints` is no such list of `count` joints.
    """
    if isinstance(keypoints, list) and all(isinstance(joint, list) for joint in keypoints):
        keypoints = [value for joint in keypoints for value in joint]
    if not isinstance(keypoints, list) or len(keypoints) != 3 * count:
        got = f"{len(keypoints)} values" if isinstance(keypoints, list) else short(keypoints)
        raise FieldError(f"`keypoints` must hold x, y and visibility of {count} joints, got {got}")
    for index in range(count):
        x, y, flag = keypoints[3 * index : 3 * index + 3]
        flag = _visibility(x, y, flag, index)
        if flag != NOT_LABELLED and not (is_number(x) and is_number(y)):
            raise FieldError(
                f"`keypoints` of joint {index} must be numbers, got {short([x, y, flag])}"
            )
        yield x, y, flag


def _visibility(x: Any, y: Any, flag: Any, index: int) -> int:
    """Converts a visibility flag to 0, 1 or 2.

    True stands for visible. False stands for occluded, or for not labelled if the joint has no
    coordinates or is at (0, 0). A missing flag stands for not labelled under the same condition,
    and is an error otherwise.
    """
    if flag is True:
        return VISIBLE
    if flag is False or flag is None:
        if not (is_number(x) and is_number(y)) or x == y == 0:
            return NOT_LABELLED
        if flag is False:
            return OCCLUDED
    if not is_number(flag) or flag not in (NOT_LABELLED, OCCLUDED, VISIBLE):
        raise FieldError(
            f"`keypoints` has the visibility {short(flag)} for joint {index}, expected 0, 1 or 2"
        )
    return int(flag)


def _is_crowd(value: Any) -> bool:
    if value is not None and not (isinstance(value, int | float) and value in (0, 1)):
        raise FieldError(f"`iscrowd` must be 0 or 1, got {short(value)}")
    return bool(value)


def _integer(record: Mapping[str, Any], field: str) -> int:
    value = record.get(field)
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d{1,19}\s*", value):
        value = int(value)
    exact = is_number(value) and (isinstance(value, int) or abs(value) < 2**53)
    if not exact or value != int(value) or not -(2**63) <= value < 2**63:
        raise FieldError(f"`{field}` must be an integer, got {short(value)}")
    return int(value)


def _with_ids(path: Root, people: list[Person], broken: Broken) -> Iterator[Person]:
    """Fills in missing ids, and leaves out people who have the same id as an earlier person."""
    taken: dict[int, Person] = {}
    for person in people:
        if person.id is not None:
            earlier = taken.setdefault(person.id, person)
            if earlier is not person:
                error = FieldError(f"`id` {person.id} is also that of {earlier.where}")
                broken.add(str(fault(path, person, error)))
    free = (number for number in itertools.count(1) if number not in taken)
    for person in people:
        if person.id is None:
            yield dataclasses.replace(person, id=next(free))
        elif taken[person.id] is person:
            yield person
