"""Constraints for the boxes of layers. They take and return boxes in pixels."""

from __future__ import annotations

import copy
import math
import numbers
from collections.abc import Sequence

import keras
from keras import ops

from tf_boxconv.ops.arguments import to_integer_pair

# The limit in pixels if there is no `max_size`. Up to it, float32 edges are precise to 1/4 pixel.
DEFAULT_LIMIT = 2.0**22


@keras.saving.register_keras_serializable(package="tf_boxconv")
class BoxConstraint(keras.constraints.Constraint):
    """Constrains boxes to be at least `min_size` wide and high, and to stay near the image.

    It treats height and width independently:

    - Both edges are clipped to `[-max_size, max_size]`, in pixels from the output pixel. Edges
      farther away than the size of the image are outside of it at every output pixel: moving them
      does not change which pixels the box covers.
    - A box shorter than `min_size`, empty or inverted along an axis gets the length `min_size`
      around the same centre, or as near to it as `max_size` allows. Empty boxes have zero
      gradients and would stay empty for ever.

    Boxes that satisfy both rules are returned unchanged, bit for bit. Infinite edges are clipped.
    NaN stays NaN, so that the constraint does not hide that training has diverged.

    Like every Keras constraint, it is applied after each update by an optimizer and never in a
    forward pass.

    Args:
        max_size: int or tuple/list of 2 integers `(height, width)`, the largest distance in
            pixels between an edge and the output pixel. `None` uses the `max_size` of the layer
            that the constraint belongs to, or 2^22 without a layer.
        min_size: float, the smallest height and width in pixels. At most `max_size`.

    Example:
    >>> constraint = tf_boxconv.constraints.BoxConstraint(max_size=48, min_size=2.0)
    >>> boxes = [[[0.0, -60.0, 1.0, 10.0]]]  # 1 pixel high
    >>> keras.ops.convert_to_numpy(constraint(boxes)).tolist()
    [[[-0.5, -48.0, 1.5, 10.0]]]
    """

    def __init__(self, max_size: int | Sequence[int] | None = None, min_size: float = 1.0):
        self.max_size = standardize_max_size(max_size)
        self.min_size = standardize_min_size(min_size, self.max_size)

    def with_max_size(self, max_size: tuple[int, int]) -> BoxConstraint:
        """Returns this constraint if it has a `max_size`, otherwise a copy with the given one."""
        if self.max_size is not None:
            return self
        limited = copy.copy(self)
        limited.max_size = standardize_max_size(max_size)
        return limited

    def __call__(self, w):
        """Returns the constrained boxes. `w` has shape `[..., 4]`, in pixels."""
        boxes = ops.convert_to_tensor(w)
        y_min, x_min, y_max, x_max = ops.unstack(boxes, 4, axis=-1)
        y_min, y_max = self._project(y_min, y_max, axis=0)
        x_min, x_max = self._project(x_min, x_max, axis=1)
        return ops.stack([y_min, x_min, y_max, x_max], axis=-1)

    def _project(self, low, high, axis: int):
        limit = DEFAULT_LIMIT if self.max_size is None else self.max_size[axis]
        # A layer may have a `max_size` below half of `min_size`. Boxes get `min_size` even then.
        limit = max(limit, self.min_size / 2)
        fits = ops.logical_and(high - low >= self.min_size, low >= -limit)
        fits = ops.logical_and(fits, high <= limit)
        has_nan = ops.logical_or(ops.isnan(low), ops.isnan(high))
        keep = ops.logical_or(fits, has_nan)

        # Clipping comes first, so that a box with an infinite edge has a finite centre.
        clipped_low, clipped_high = ops.clip(low, -limit, limit), ops.clip(high, -limit, limit)
        # Not `maximum`, which gives float32 for float64 on PyTorch (Keras 3.15).
        half = ops.clip(clipped_high - clipped_low, self.min_size, 2 * limit) / 2
        centre = ops.clip((clipped_low + clipped_high) / 2, half - limit, limit - half)
        return ops.where(keep, low, centre - half), ops.where(keep, high, centre + half)

    def get_config(self):
        """Returns the config of the constraint."""
        return {"max_size": self.max_size, "min_size": self.min_size}


def get(identifier):
    """Like `keras.constraints.get`, but `"box_constraint"` gives a `BoxConstraint`."""
    if isinstance(identifier, str) and identifier == "box_constraint":
        return BoxConstraint()
    return keras.constraints.get(identifier)


def standardize_max_size(max_size: int | Sequence[int] | None) -> tuple[int, int] | None:
    """Returns `max_size` as `(height, width)` in pixels; `None` stays `None`.

    Raises a `ValueError` unless the sizes are positive integers.
    """
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
    """Returns `min_size`, in pixels, as a float.

    Raises a `ValueError` unless it is positive, finite and at most `max_size`.
    """
    is_number = isinstance(min_size, numbers.Real) and not isinstance(min_size, bool)
    is_finite = is_number and math.isfinite(min_size)
    if not is_finite or min_size <= 0 or (max_size is not None and min_size > min(max_size)):
        limit = "" if max_size is None else f", at most the smaller side of max_size={max_size}"
        raise ValueError(
            f"`min_size` must be a positive number of pixels{limit}. Received: "
            f"min_size={min_size!r}"
        )
    return float(min_size)
