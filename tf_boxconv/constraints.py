"""Constraints on box weights. They see and return boxes in pixels."""

from __future__ import annotations

import copy
import math
import numbers
from collections.abc import Sequence

import keras
from keras import ops

from tf_boxconv.ops.arguments import to_integer_pair

# The limit, in pixels, where there is no `max_size`. Beyond it float32 has no half pixels left.
FAR = 2.0**22


@keras.saving.register_keras_serializable(package="tf_boxconv")
class BoxConstraint(keras.constraints.Constraint):
    """Constraint that keeps every box at least `min_size` wide and high, and near the image.

    Along each axis, on its own:

    - a box that is narrower than `min_size`, empty or inverted becomes `min_size` wide around
      the same centre. An empty box has no gradient and could never grow again by itself;
    - both edges are kept within `[-max_size, max_size]` of the output pixel. An edge that is
      further away than the plane is large lies outside the image for every output pixel, so that
      no gradient calls it back.

    Boxes that already satisfy both come back bit for bit as they were, infinite edges count as
    far away, and NaN stays NaN: it tells of a training that has diverged, which no constraint
    should hide.

    Like every Keras constraint it acts after the steps of an optimizer only, never in a forward
    pass.

    Args:
        max_size: int or pair of ints `(height, width)`: how far in pixels an edge may be from
            the output pixel, at least `min_size`. `None` means the `max_size` of the layer that
            uses the constraint; outside a layer, 2^22.
        min_size: float, the smallest side in pixels.
    """

    def __init__(self, max_size: int | Sequence[int] | None = None, min_size: float = 1.0):
        self.max_size = standardize_max_size(max_size)
        self.min_size = standardize_min_size(min_size, self.max_size)

    def with_max_size(self, max_size: tuple[int, int]) -> BoxConstraint:
        """Returns this constraint, or where it has no `max_size` a copy that has this one."""
        if self.max_size is not None:
            return self
        bound = copy.copy(self)
        bound.max_size = standardize_max_size(max_size)
        return bound

    def __call__(self, w):
        """Returns the boxes `w`, `[..., 4]` in pixels, with the least change that is needed."""
        boxes = ops.convert_to_tensor(w)
        y_min, x_min, y_max, x_max = ops.unstack(boxes, 4, axis=-1)
        y_min, y_max = self._project(y_min, y_max, axis=0)
        x_min, x_max = self._project(x_min, x_max, axis=1)
        return ops.stack([y_min, x_min, y_max, x_max], axis=-1)

    def _project(self, low, high, axis: int):
        limit = FAR if self.max_size is None else self.max_size[axis]
        # A plane that came from a layer may be too small for `min_size`; the box then wins.
        limit = max(limit, self.min_size / 2)
        fits = ops.logical_and(high - low >= self.min_size, low >= -limit)
        fits = ops.logical_and(fits, high <= limit)
        unknown = ops.logical_or(ops.isnan(low), ops.isnan(high))
        keep = ops.logical_or(fits, unknown)

        # Clipping comes first, so that a box with an infinite edge has a centre.
        near_low, near_high = ops.clip(low, -limit, limit), ops.clip(high, -limit, limit)
        # Not `maximum`, which gives float32 for float64 on PyTorch (Keras 3.15).
        half = ops.clip(near_high - near_low, self.min_size, 2 * limit) / 2
        centre = ops.clip((near_low + near_high) / 2, half - limit, limit - half)
        return ops.where(keep, low, centre - half), ops.where(keep, high, centre + half)

    def get_config(self):
        """Returns the arguments of the constructor."""
        return {"max_size": self.max_size, "min_size": self.min_size}


def get(identifier):
    """Returns a constraint: `"box_constraint"`, or whatever `keras.constraints.get` takes."""
    if isinstance(identifier, str) and identifier == "box_constraint":
        return BoxConstraint()
    return keras.constraints.get(identifier)


def standardize_max_size(max_size: int | Sequence[int] | None) -> tuple[int, int] | None:
    """Returns `max_size` as `(height, width)` in pixels, or `None`, or raises a `ValueError`."""
    if max_size is None:
        return None
    sizes = to_integer_pair(max_size)
    if sizes is None or min(sizes) < 1:
        raise ValueError(
            "`max_size` must be a positive integer or a pair of them (height, width), in "
            f"pixels, or None. Received: max_size={max_size!r}"
        )
    return sizes


def standardize_min_size(min_size: float, max_size: tuple[int, int] | None) -> float:
    """Returns `min_size`, in pixels, as a float or raises a `ValueError`."""
    number = isinstance(min_size, numbers.Real) and not isinstance(min_size, bool)
    number = number and math.isfinite(min_size)
    if not number or min_size <= 0 or (max_size is not None and min_size > min(max_size)):
        limit = "" if max_size is None else f", at most the smaller side of max_size={max_size}"
        raise ValueError(
            f"`min_size` must be a positive number of pixels{limit}. Received: "
            f"min_size={min_size!r}"
        )
    return float(min_size)
