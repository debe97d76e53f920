"""The records of a COCO-style file that are used: photographs, and people with labelled joints."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from examples.pose.datasets.skeletons import NOT_LABELLED

# A box made from joints is so much larger than they need, on every side, as a part of the longer.
_BOX_MARGIN = 0.15
# A box that is wider or higher than so many photographs is none.
_LARGEST_BOX = 4


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
        misses the photograph or the joints; `area` that of the box where it is missing, under one
        pixel or over the whole photograph.

        Raises:
            FieldError: No joint is inside, or there is nothing to make a box of.
        """
        x, y = self.joints.T
        box = _usable_box(self.bbox, width, height)
        seen = self.visibility != NOT_LABELLED
        seen &= ~self._placeholders(box)
        kept = seen & (x >= -1) & (x <= width) & (y >= -1) & (y <= height)
        if not kept.any():
            raise FieldError(
                f"`keypoints` are all outside the photograph of {width} x {height} pixels, or at "
                "(0, 0) without a `bbox` around it"
            )
        if box is None or not _holds_most(box, self.joints[kept]):
            box = _box_around(self.joints[kept], width, height) or box
        if box is None:
            raise FieldError(
                f"`bbox` is {short(self.bbox)}, and the labelled joints lie too close together to "
                "say what is meant"
            )
        # Areas in other units, such as parts of the picture, would falsify COCO's evaluation.
        area_is_in_pixels = self.area is not None and 1 <= self.area <= width * height
        return dataclasses.replace(
            self,
            joints=np.where(kept[:, None], self.joints, 0.0),
            visibility=np.where(kept, self.visibility, NOT_LABELLED).astype(np.uint8),
            bbox=box,
            area=self.area if area_is_in_pixels else box[2] * box[3],
        )

    def _placeholders(self, box: Sequence[float] | None) -> np.ndarray:
        """Which joints are at (0, 0) because a tool had no place for them: bool `[J]`.

        One joint can be there, if the box holds it.
        """
        at_corner = (self.joints == 0).all(axis=1) & (self.visibility != NOT_LABELLED)
        possible = box is not None and max(box[:2]) <= 0.5
        return at_corner & (at_corner.sum() > possible)


def _usable_box(bbox: Any, width: int, height: int) -> list[float] | None:
    """The box if it overlaps the photograph, has a pixel's size, and is not out of all measure."""
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(map(is_number, bbox)):
        return None
    x, y, w, h = map(float, bbox)
    overlaps = x < width and y < height and x + w > 0 and y + h > 0
    fits = min(w, h) >= 1 and max(w, h) <= _LARGEST_BOX * max(width, height)
    return [x, y, w, h] if fits and overlaps else None


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


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def short(value: Any) -> str:
    """A value as it is shown in messages."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
