"""Reads `mpii_human_pose_v1_u12_1.mat`, the labels of MPII Human Pose.

A list has one of three forms in this file: a list of one element is stored as the element, a longer
one as an array, and an empty one as an empty array. A field that no person in an image has is
missing. Numbers are sometimes stored as text.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from examples.pose.datasets import official_files
from examples.pose.datasets.official_files import Root
from examples.pose.datasets.preparation import Broken
from examples.pose.datasets.skeletons import OCCLUDED, VISIBLE

NUM_JOINTS = 16


@dataclasses.dataclass(frozen=True)
class Person:
    """The labels of one person. Positions are (x, y) in pixels counted from 0; 0 if unknown.

    Attributes:
        number: The person's number in the image, from 1, as used in `single_person`.
        joints: float64 `[16, 2]`.
        visibility: uint8 `[16]`, see `pose_features`.
        head_box: float64 `[4]`, the head's rectangle (x_min, y_min, x_max, y_max).
        centre: float64 `[2]`, the field `objpos`.
        scale: The person's height in units of 200 pixels; 0 if the file has no `objpos`.
        is_single: Whether `single_person` lists the person as sufficiently separated from others.
    """

    number: int
    joints: np.ndarray
    visibility: np.ndarray
    head_box: np.ndarray
    centre: np.ndarray
    scale: float
    is_single: bool

    @property
    def labelled(self) -> bool:
        """Whether any joint is labelled."""
        return bool(self.visibility.any())


@dataclasses.dataclass(frozen=True)
class Photograph:
    """The labels of one image.

    Attributes:
        number: The image's number in the file, from 1.
        name: The image's file name.
        video: Number of the video that the image was taken from; 0 if unknown.
        is_train: Whether the image belongs to the training set, whose joints are published.
        people: All people in the image that the file lists.
    """

    number: int
    name: str
    video: int
    is_train: bool
    people: list[Person]


def read(path: Root, broken: Broken | None = None) -> list[Photograph]:
    """Reads all annotations.

    Args:
        path: The official .mat file.
        broken: Collects images whose labels cannot be used. If it is None, such images raise a
            `ValueError`.

    Raises:
        ValueError: The file cannot be read, or is not the official file.
    """
    expected = "the MATLAB file with the struct `RELEASE` of MPII Human Pose"
    release = official_files.read_matlab(
        path, "RELEASE", expected, struct_as_record=False, squeeze_me=True
    )
    try:
        images = _elements(release.annolist)
        is_train = np.atleast_1d(release.img_train)
        single = _single_people(release, len(images))
    except (AttributeError, ValueError, TypeError, IndexError) as error:
        raise ValueError(f"{path} is not {expected}: {error!r}") from None
    if len(is_train) != len(images):
        raise ValueError(
            f"{path}: `img_train` has {len(is_train)} entries for {len(images)} images."
        )
    collected = Broken() if broken is None else broken
    photographs: list[Photograph] = []
    by_name: dict[str, Photograph] = {}
    for index, image in enumerate(images):
        try:
            found = _photograph(image, index + 1, bool(is_train[index]), single[index])
            if found.people and by_name.setdefault(found.name, found) is not found:
                raise ValueError(f"it is also image {by_name[found.name].number}")
            photographs.append(found)
        except (AttributeError, ValueError, TypeError, IndexError) as error:
            name = _field(_field(image, "image"), "name")
            collected.add(
                f"{path}: image {index + 1} ({name}) has labels that cannot be used: {error}."
            )
    if broken is None:
        collected.check()
    return photographs


def _photograph(image: Any, number: int, is_train: bool, single: set[int]) -> Photograph:
    name = _field(_field(image, "image"), "name")
    if not isinstance(name, str):
        raise ValueError(f"`image.name` is {name!r}")
    return Photograph(
        number=number,
        name=name,
        video=int(_number(image, "vidx")),
        is_train=is_train,
        people=[
            _person(rectangle, person, person in single)
            for person, rectangle in enumerate(_elements(_field(image, "annorect")), start=1)
        ],
    )


def _single_people(release: Any, count: int) -> list[set[int]]:
    """For each image the numbers of the people that are sufficiently separated from others."""
    lists = np.atleast_1d(release.single_person)
    # For a file with one image, `squeeze_me` reduces the array to the list of that image.
    lists = [release.single_person] if count == 1 else lists
    if len(lists) != count:
        raise ValueError(f"`single_person` has {len(lists)} entries for {count} images")
    return [{int(number) for number in np.atleast_1d(numbers).ravel()} for numbers in lists]


def _person(rectangle: Any, number: int, is_single: bool) -> Person:
    joints, visibility = np.zeros((NUM_JOINTS, 2)), np.zeros(NUM_JOINTS, np.uint8)
    for point in _elements(_field(_field(rectangle, "annopoints"), "point")):
        joint = int(_number(point, "id", missing=-1))
        position = _position(point)
        if 0 <= joint < NUM_JOINTS and position is not None:
            joints[joint] = position
            # Head top and upper neck have no flag: they were derived from the head's rectangle.
            is_visible = _number(point, "is_visible", missing=1.0)
            visibility[joint] = VISIBLE if is_visible else OCCLUDED
    corners = np.array([_number(rectangle, n, missing=np.nan) for n in ("x1", "y1", "x2", "y2")])
    centre = _position(_field(rectangle, "objpos"))
    return Person(
        number=number,
        joints=joints,
        visibility=visibility,
        head_box=corners - 1 if np.isfinite(corners).all() else np.zeros(4),
        centre=np.zeros(2) if centre is None else centre,
        scale=0.0 if centre is None else _scale(rectangle),
        is_single=is_single,
    )


def _scale(rectangle: Any) -> float:
    scale = _number(rectangle, "scale")
    return scale if np.isfinite(scale) else 0.0


def _position(struct: Any) -> np.ndarray | None:
    """The fields `x` and `y`, counted from 1, as a position counted from 0; None if missing."""
    x, y = (_number(struct, name, missing=np.nan) for name in ("x", "y"))
    if not np.isfinite([x, y]).all():
        return None
    if max(abs(x), abs(y)) > official_files.LARGEST_SIDE:
        raise ValueError(f"`x` and `y` of a point are {x:g} and {y:g}, outside any picture")
    return np.array([x - 1, y - 1])


def _field(struct: Any, name: str) -> Any:
    """A field of a struct, or None if the struct, the field or its value is missing."""
    value = getattr(struct, name, None)
    return None if isinstance(value, np.ndarray) and value.size == 0 else value


def _number(struct: Any, name: str, missing: float = 0.0) -> float:
    """A field that holds one number, which may be stored as text."""
    value = _field(struct, name)
    try:
        return missing if value is None else float(np.ravel(value)[0])
    except (TypeError, ValueError):
        raise ValueError(f"`{name}` must be a number, got {value!r}") from None


def _elements(value: Any) -> list[Any]:
    """Returns the elements of a list in any of the forms that the file stores lists in."""
    return [] if value is None else list(np.ravel(np.array(value, dtype=object)))
