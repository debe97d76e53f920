"""The records of a COCO-style file: photographs, and people with labelled joints."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from examples.pose.datasets.skeletons import NOT_LABELLED

# Margin on every side of a box around joints, as a fraction of the longer side.
_BOX_MARGIN = 0.15
# Sizes, and boxes that tools compute from the joints, are rounded by at most this many pixels.
_ROUNDING = 1
# A box is ignored if its longer side is more than this many times the photograph's longer side.
_LARGEST_BOX = 4


class FieldError(Exception):
    """A field of a record is invalid; the message begins with the field's name."""


@dataclasses.dataclass(frozen=True)
class Photograph:
    """A record of `images`.

    Attributes:
        where: The position of the record in the file, for messages, such as `images[3]`.
        id: The image id.
        name: The path relative to the folder of photographs, with `/`.
        size: (width, height) in pixels, or None if the file does not give them.
        has_swapped_size: Whether the joints fit the picture only if `size` is swapped.
    """

    where: str
    id: int
    name: str
    size: tuple[int, int] | None
    has_swapped_size: bool = False

    def check_size(self, width: int, height: int) -> None:
        """Checks that the picture has the size in the record."""
        if self.size not in (None, (width, height)):
            raise FieldError(
                f"`width` and `height` are {self.size[0]} x {self.size[1]}, but {self.name} has "
                f"{width} x {height} pixels: the labels belong to another version of it"
            )

    def compared_with(self, people: Iterable[Person]) -> Photograph:
        """The photograph with `has_swapped_size` set by the people in it."""
        if self.size is None:
            return self
        size = np.array(self.size) + _ROUNDING
        positions = np.concatenate([p.joints[p.visibility != NOT_LABELLED] for p in people])
        swapped = bool((positions <= size[::-1]).all() and not (positions <= size).all())
        return dataclasses.replace(self, has_swapped_size=swapped)


@dataclasses.dataclass(frozen=True)
class Person:
    """A record of `annotations` with labelled joints.

    Attributes:
        where: The position of the record in the file, for messages, such as `annotations[3]`.
        id: The annotation id; None if the record has none.
        image_id: The id of the photograph.
        joints: float64 `[J, 2]`, (x, y) in pixels; 0 if not labelled.
        visibility: uint8 `[J]`.
        bbox: The unchecked value of `bbox`.
        area: `area` in square pixels if it is a positive number, else None.
        is_crowd: Whether the record stands for a group of people.
    """

    where: str
    id: int | None
    image_id: int
    joints: np.ndarray
    visibility: np.ndarray
    bbox: Any
    area: float | None
    is_crowd: bool

    def inside(self, width: int, height: int, is_alone: bool = False) -> Person:
        """The person restricted to the photograph: joints outside it become unlabelled.

        `bbox` becomes `[x, y, width, height]`. It is derived from the joints if the record has no
        plausible box that overlaps the photograph, if most joints lie far from the box, or if the
        box is that of the joints without a margin, which some tools write. `area` becomes the area
        of the box if it is missing, less than one pixel, or more than the whole photograph.

        Args:
            width: Width of the photograph in pixels.
            height: Height of the photograph in pixels.
            is_alone: Whether no other person is labelled in the photograph. If people have only one
                joint, from which no box can be derived, the box is then the whole photograph.

        Raises:
            FieldError: No joint is inside, or there is neither a usable box nor joints to derive
                one from.
        """
        x, y = self.joints.T
        box = _usable_box(self.bbox, width, height)
        labelled = self.visibility != NOT_LABELLED
        labelled &= ~self._placeholders(box)
        kept = labelled & (x >= -1) & (x <= width) & (y >= -1) & (y <= height)
        if not kept.any():
            raise FieldError(
                f"`keypoints` are all outside the photograph of {width} x {height} pixels, or at "
                "(0, 0), which is taken to mean that their position is unknown"
            )
        if box is not None and _is_extent(box, self.joints[labelled]):
            box = None
        if box is None or not _holds_most(box, self.joints[kept]):
            is_whole = is_alone and len(self.joints) == 1
            whole = [0.0, 0.0, float(width), float(height)] if is_whole else None
            box = _box_around(self.joints[kept], width, height) or box or whole
        if box is None:
            raise FieldError(
                f"`bbox` is {short(self.bbox)}, and the labelled joints lie too close together to "
                "derive a box from them"
            )
        # An area in other units, such as a fraction of the picture, would distort COCO's scores.
        area_is_in_pixels = self.area is not None and 1 <= self.area <= width * height
        return dataclasses.replace(
            self,
            joints=np.where(kept[:, None], self.joints, 0.0),
            visibility=np.where(kept, self.visibility, NOT_LABELLED).astype(np.uint8),
            bbox=box,
            area=self.area if area_is_in_pixels else box[2] * box[3],
        )

    def _placeholders(self, box: Sequence[float] | None) -> np.ndarray:
        """Tells which joints are at (0, 0) because their position is unknown: bool `[J]`.

        If the box reaches (0, 0) and only one joint is there, its position is taken as real.
        """
        at_corner = (self.joints == 0).all(axis=1) & (self.visibility != NOT_LABELLED)
        possible = box is not None and max(box[:2]) <= 0.5
        return at_corner & (at_corner.sum() > possible)


def _usable_box(bbox: Any, width: int, height: int) -> list[float] | None:
    """Returns the box if it overlaps the photograph and its sides have plausible lengths."""
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(map(is_number, bbox)):
        return None
    x, y, w, h = map(float, bbox)
    overlaps = x < width and y < height and x + w > 0 and y + h > 0
    fits = min(w, h) >= 1 and max(w, h) <= _LARGEST_BOX * max(width, height)
    return [x, y, w, h] if fits and overlaps else None


def _holds_most(box: Sequence[float], joints: np.ndarray) -> bool:
    """Whether at least half of the joints are in the box enlarged by half its size on each side."""
    low, sides = np.reshape(box, (2, 2))
    near = ((joints >= low - sides / 2) & (joints <= low + 1.5 * sides)).all(axis=1)
    return bool(near.mean() >= 0.5)


def _is_extent(box: Sequence[float], joints: np.ndarray) -> bool:
    """Whether the box is that of the joints, without a margin."""
    low, sides = np.reshape(box, (2, 2))
    low_error, high_error = low - joints.min(axis=0), low + sides - joints.max(axis=0)
    return bool(max(np.abs(low_error).max(), np.abs(high_error).max()) <= _ROUNDING)


def _box_around(joints: np.ndarray, width: int, height: int) -> list[float] | None:
    """A box around joints with a margin, inside the photograph; None if the joints coincide."""
    low, high = joints.min(axis=0), joints.max(axis=0)
    longer = (high - low).max()
    if longer < 1:
        return None
    low = np.maximum(low - _BOX_MARGIN * longer, 0)
    high = np.minimum(high + _BOX_MARGIN * longer, (width, height))
    return [*low.tolist(), *np.maximum(high - low, 1).tolist()]


def is_number(value: Any) -> bool:
    """Whether a JSON value is a finite number that fits a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def short(value: Any) -> str:
    """A value for a message, shortened to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
