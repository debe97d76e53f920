"""Initializers of box weights. They return boxes in pixels."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import keras
from keras import ops

from tf_boxconv.constraints import standardize_max_size, standardize_min_size

# The largest side that is drawn, as a part of the plane. A box as large as the plane sees nearly
# the same pixels wherever it stands: its response is almost constant and says little.
LARGEST_SIDE = 0.7
# How far the centre of a box may lie from the output pixel, as a part of the plane.
LARGEST_OFFSET = 0.25


@keras.saving.register_keras_serializable(package="tf_boxconv")
class RandomBoxes(keras.initializers.Initializer):
    """Initializer that spreads boxes over sizes and positions.

    Along each axis, on its own, a side is drawn log-uniformly between `min_size` and 0.7 times
    `max_size`, so that every octave of sizes gets its share and long thin boxes occur as well as
    square ones. The centre is then drawn uniformly within `max_size / 4` of the output pixel, and
    nearer where that is needed to keep the box within `max_size / 2` of it. All boxes are drawn
    at once, and all are valid: `min < max` along both axes.

    Example:
    >>> initializer = RandomBoxes(max_size=(48, 64), seed=1)
    >>> boxes = initializer(shape=(16, 4, 4))  # 16 channels, 4 boxes each

    Args:
        max_size: int or pair of ints `(height, width)`: the size in pixels of the plane that the
            boxes are meant for. `None` means the `max_size` of the layer that uses the
            initializer.
        min_size: float, the smallest side in pixels.
        seed: A Python integer or an instance of `keras.random.SeedGenerator`. As with Keras's
            own initializers, an integer or `None` gives the same boxes at every call, and a
            `SeedGenerator` new ones. `None` takes a seed that `keras.utils.set_random_seed`
            determines.
    """

    def __init__(
        self,
        max_size: int | Sequence[int] | None = None,
        min_size: float = 1.0,
        seed: int | keras.random.SeedGenerator | None = None,
    ):
        self.max_size = standardize_max_size(max_size)
        self.min_size = standardize_min_size(min_size, self.max_size)
        # Keras's own class settles what a seed may be and how it is stored.
        seeded = keras.initializers.RandomUniform(seed=seed)
        self.seed = seeded.seed
        self._seed_config = seeded.get_config()["seed"]

    def with_max_size(self, max_size: tuple[int, int]) -> RandomBoxes:
        """Returns this initializer, or where it has no `max_size` a copy that has this one."""
        if self.max_size is not None:
            return self
        bound = copy.copy(self)
        bound.max_size = standardize_max_size(max_size)
        # A plane smaller than `min_size` is no error here: the plane was not the caller's choice.
        return bound

    def __call__(self, shape, dtype=None):
        """Returns boxes `(y_min, x_min, y_max, x_max)` in pixels, of shape `[..., 4]`."""
        shape = tuple(shape)
        if not shape or shape[-1] != 4:
            raise ValueError(
                "Boxes have shape [channels, depth_multiplier, 4], the last axis being "
                f"(y_min, x_min, y_max, x_max). Received: shape={shape}"
            )
        if self.max_size is None:
            raise ValueError(
                "`max_size`, the size in pixels of the plane that the boxes are meant for, must "
                "be given to `RandomBoxes` when no layer provides it. Received: max_size=None"
            )
        # One draw for everything: with an integer seed a second draw would repeat the first.
        uniform = keras.random.uniform(shape, seed=self.seed, dtype=dtype)
        axes = [self._draw_axis(uniform, axis) for axis in (0, 1)]
        (y_min, y_max), (x_min, x_max) = axes
        return ops.stack([y_min, x_min, y_max, x_max], axis=-1)

    def _draw_axis(self, uniform, axis: int):
        extent = self.max_size[axis]
        largest = max(LARGEST_SIDE * extent, self.min_size)
        octaves = math.log(largest / self.min_size)
        side = self.min_size * ops.exp(octaves * uniform[..., axis])
        reach = ops.clip((extent - side) / 2, 0, LARGEST_OFFSET * extent)
        centre = (2 * uniform[..., axis + 2] - 1) * reach
        return centre - side / 2, centre + side / 2

    def get_config(self):
        """Returns the arguments of the constructor."""
        return {
            "max_size": self.max_size,
            "min_size": self.min_size,
            "seed": self._seed_config,
        }


def get(identifier):
    """Returns an initializer: `"random_boxes"`, or whatever `keras.initializers.get` takes."""
    if isinstance(identifier, str) and identifier == "random_boxes":
        return RandomBoxes()
    return keras.initializers.get(identifier)
