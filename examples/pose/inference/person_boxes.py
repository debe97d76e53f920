"""The boxes of people to predict: `--box` on the command line, or a file in COCO's format.

The file is a list of results, `{"image_id": ..., "bbox": [x, y, width, height], ...}`, or a file of
annotations, an object with `images` and `annotations`. A result belongs to the picture whose name
is its `file_name`, or whose name, name without suffix, or number at the end of the name is its
`image_id`. In a video it belongs to the frame whose number is its `image_id`.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from examples.pose.cli.errors import UserError


class BoxError(UserError):
    """Boxes cannot be used; the message names the file and the reason."""


@dataclasses.dataclass(frozen=True)
class Box:
    """The box of a person.

    Attributes:
        bbox: `(x, y, width, height)` in pixels of the picture.
        image_id: The picture's id in COCO's results.
        category_id: The category of the person.
        score: The score of the detector, which multiplies that of the pose.
    """

    bbox: tuple[float, float, float, float]
    image_id: int | str = 1
    category_id: int = 1
    score: float = 1.0

    def overlaps(self, width: int, height: int) -> bool:
        """Whether the box overlaps a picture of this size."""
        x, y, w, h = self.bbox
        return x < width and y < height and x + w > 0 and y + h > 0

    def check_overlap(self, width: int, height: int) -> None:
        """Raises a `BoxError` if the box does not overlap a picture of this size."""
        if not self.overlaps(width, height):
            raise BoxError(
                f"the box {list(self.bbox)} does not overlap the picture of {width} x {height} "
                "pixels"
            )


class Boxes:
    """The boxes of people in pictures, or in frames of a video.

    Args:
        boxes: The boxes, each with the name of its picture, or None if only `image_id` says to
            which picture it belongs. Names may have folders.
        names: Names of pictures, with or without boxes.
    """

    def __init__(self, boxes: Iterable[tuple[str | None, Box]], names: Iterable[str] = ()):
        self._by_name: dict[PurePosixPath, list[Box]] = {PurePosixPath(n): [] for n in names}
        self._by_last_name: dict[str, list[PurePosixPath]] = collections.defaultdict(list)
        self._by_number: dict[int, list[Box]] = {}
        self._by_frame: dict[int, list[Box]] = {}
        for name, box in boxes:
            number = _whole_number(box.image_id)
            if number is not None:
                self._by_frame.setdefault(number, []).append(box)
            if number is not None and name is None:
                self._by_number.setdefault(number, []).append(box)
            if name is None and isinstance(box.image_id, str):
                name = box.image_id
            if name is not None:
                self._by_name.setdefault(PurePosixPath(name), []).append(box)
        for key in self._by_name:
            self._by_last_name[key.name].append(key)

    def of_pictures(self, paths: Sequence[str]) -> list[list[Box] | BoxError]:
        """The boxes in each picture file, in order.

        A picture whose boxes are unknown has a `BoxError` instead: its name fits several pictures
        of the boxes, or other files fit the same picture.
        """
        files = [PurePosixPath(Path(path).absolute().as_posix()) for path in paths]
        keys = [self._key_of_full_name(file) for file in files]
        taken = set(keys)
        for index, (path, file) in enumerate(zip(paths, files, strict=True)):
            if keys[index] is None:
                try:
                    key = self._key_of_last_name(path, file)
                except BoxError as error:
                    key = error
                # If it is the full name of another file, this file has no boxes.
                keys[index] = None if key in taken else key
        paths_of = collections.defaultdict(list)
        for path, key in zip(paths, keys, strict=True):
            paths_of[key].append(path)
        return [self._boxes_of(key, paths_of[key]) for key in keys]

    def _boxes_of(
        self, key: PurePosixPath | int | BoxError | None, paths: Sequence[str]
    ) -> list[Box] | BoxError:
        """The boxes of a name or number, which all `paths` fit."""
        if isinstance(key, BoxError):
            return key
        if key is None:
            return []
        if len(paths) > 1:
            return BoxError(
                f"{paths[0]} and {paths[1]} both fit {key} in the file of boxes. Name its pictures "
                "with their folders there."
            )
        return list((self._by_number if isinstance(key, int) else self._by_name)[key])

    def _key_of_full_name(self, file: PurePosixPath) -> PurePosixPath | None:
        """The longest name that the file's path ends with, with or without suffix."""
        for with_folders in (file.parts[i:] for i in range(len(file.parts))):
            name = PurePosixPath(*with_folders)
            for key in (name, name.with_suffix("") if name.name else name):
                if key in self._by_name:
                    return key
        return None

    def _key_of_last_name(self, path: str, file: PurePosixPath) -> PurePosixPath | int | None:
        """The name in other folders, or the number, that a file has.

        Raises:
            BoxError: There are several.
        """
        keys = [
            key
            for name in dict.fromkeys((file.name, file.stem))
            for key in self._by_last_name[name]
        ]
        if len(keys) > 1:
            raise BoxError(
                f"{path} may be {keys[0]} or {keys[1]} in the file of boxes. Give its name with as "
                "many folders as there."
            )
        if keys:
            return keys[0]
        number = re.search(r"\d+$", file.stem)
        return int(number[0]) if number and int(number[0]) in self._by_number else None

    @property
    def has_frames(self) -> bool:
        """Whether an image id may be the number of a frame."""
        return bool(self._by_frame)

    def of_frame(self, index: int) -> list[Box]:
        """The boxes in a frame of a video. Frames count from 0."""
        return list(self._by_frame.get(index, []))

    def count_from(self, index: int) -> int:
        """The number of boxes in a frame and all frames after it."""
        return sum(len(boxes) for frame, boxes in self._by_frame.items() if frame >= index)


def _whole_number(image_id: int | str) -> int | None:
    text = str(image_id)
    return int(text) if text.isascii() and text.isdigit() else None


def read(path) -> Boxes:
    """Reads a file of boxes.

    Raises:
        BoxError: It is no such file, or a box in it is invalid.
    """
    try:
        content = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise BoxError(f"{path}: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise BoxError(f"{path} is not a JSON file: {error}.") from None
    names = {}
    records = content
    if isinstance(content, dict):
        records = content.get("annotations")
        images = content.get("images")
        names = {
            image["id"]: image.get("file_name")
            for image in (images if isinstance(images, list) else [])
            if isinstance(image, dict) and isinstance(image.get("id"), int | str)
        }
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise BoxError(
            f"{path} holds no boxes: it must be a list of results as in COCO, "
            '[{"image_id": 1, "bbox": [x, y, width, height]}, ...], or a file of annotations.'
        )
    boxes = []
    for index, record in enumerate(records):
        box = _box(record, f"{path}: record {index}")
        name = record.get("file_name") or names.get(box.image_id)
        boxes.append((_posix(str(name)) if name else None, box))
    return Boxes(boxes, [_posix(name) for name in names.values() if isinstance(name, str) and name])


def _posix(name: str) -> str:
    return name.replace("\\", "/")


def _box(record: Mapping[str, Any], where: str) -> Box:
    bbox, image_id = record.get("bbox"), record.get("image_id", record.get("file_name"))
    if not isinstance(bbox, list) or len(bbox) != 4 or not is_bbox(bbox):
        raise BoxError(f"{where}: `bbox` must be [x, y, width, height] in pixels, got {bbox!r}.")
    if not isinstance(image_id, int | str):
        raise BoxError(f"{where}: `image_id` must be a number or a name, got {image_id!r}.")
    score, category_id = record.get("score", 1.0), record.get("category_id", 1)
    if not isinstance(score, int | float) or not abs(score) < 1e6:
        raise BoxError(f"{where}: `score` must be a number, got {score!r}.")
    if not isinstance(category_id, int | str):
        raise BoxError(f"{where}: `category_id` must be a number or a name, got {category_id!r}.")
    return Box(tuple(map(float, bbox)), image_id, category_id, float(score))


def is_bbox(values: Iterable[Any]) -> bool:
    """Whether four values are numbers of reasonable size, with sides of at least one pixel."""
    numbers = [isinstance(v, int | float) and not isinstance(v, bool) for v in values]
    if not all(numbers) or not all(abs(v) < 1e6 for v in values):
        return False
    _, _, width, height = values
    return width >= 1 and height >= 1
