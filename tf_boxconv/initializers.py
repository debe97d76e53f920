"""Initializers for the boxes of layers. They return boxes in pixels."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import keras
from keras import ops

from tf_boxconv.constraints import standardize_max_size, standardize_min_size

# The largest side drawn, as a fraction of the plane's side. Larger boxes cover much of the plane at
# every output pixel, so their responses vary little.
LARGEST_SIDE = 0.7
# The largest distance between the centre of a box and the output pixel along an axis, as a fraction
# of the plane's side.
LARGEST_OFFSET = 0.25


@keras.saving.register_keras_serializable(package="tf_boxconv")
class RandomBoxes(keras.initializers.Initializer):
    """Draws boxes of random sizes and positions.

    Height and width are drawn independently and log-uniformly from `min_size` to
    `0.7 * max_size`. Small and large boxes are thus equally frequent (as many from 2 to 4 pixels
    as from 16 to 32), and long thin boxes occur as well as square ones. The centre is drawn
    uniformly within `max_size / 4` of the output pixel, or less if the box would otherwise extend
    beyond `max_size / 2`. No box is empty.

    Args:
        max_size: int or tuple/list of 2 integers `(height, width)`, the typical size in pixels of
            the layer's input. `None` uses the `max_size` of the layer that the initializer belongs
            to.
        min_size: float, the smallest height and width in pixels. At most `max_size`.
        seed: A Python integer or instance of `keras.random.SeedGenerator`. An initializer seeded
            with an integer or `None` produces the same boxes across multiple calls, like Keras's
            own initializers. A `SeedGenerator` produces different ones. `None` draws a seed,
            which `keras.utils.set_random_seed` makes reproducible.

    Example:
    >>> initializer = tf_boxconv.initializers.RandomBoxes(max_size=(48, 64), seed=1)
    >>> boxes = initializer(shape=(16, 3, 4))  # 16 channels with 3 boxes each
    >>> tuple(boxes.shape)
    (16, 3, 4)
    """

    def __init__(
        self,
        max_size: int | Sequence[int] | None = None,
        min_size: float = 1.0,
        seed: int | keras.random.SeedGenerator | None = None,
    ):
        self.max_size = standardize_max_size(max_size)
        self.min_size = standardize_min_size(min_size, self.max_size)
        # A Keras initializer checks and serializes the seed.
        keras_initializer = keras.initializers.RandomUniform(seed=seed)
        self.seed = keras_initializer.seed
        self._seed_config = keras_initializer.get_config()["seed"]

    def with_max_size(self, max_size: tuple[int, int]) -> RandomBoxes:
        """Returns this initializer if it has a `max_size`, otherwise a copy with the given one."""
        if self.max_size is not None:
            return self
        limited = copy.copy(self)
        # May be less than `min_size`, because the user did not choose it.
        limited.max_size = standardize_max_size(max_size)
        return limited

    def __call__(self, shape, dtype=None):
        """Returns boxes `(y_min, x_min, y_max, x_max)` in pixels, of shape `[..., 4]`."""
        shape = tuple(shape)
        if not shape or shape[-1] != 4:
            raise ValueError(
                "`shape` must be [channels, depth_multiplier, 4]; the last axis is "
                f"(y_min, x_min, y_max, x_max). Received: shape={shape}"
            )
        if self.max_size is None:
            raise ValueError(
                "`max_size`, the typical size in pixels of the layer's input, must be given to "
                "`RandomBoxes` unless a layer provides it. Received: max_size=None"
            )
        # One draw for all edges: with an integer seed, a second draw would repeat the same numbers.
        uniform = keras.random.uniform(shape, seed=self.seed, dtype=dtype)
        axes = [self._draw_axis(uniform, axis) for axis in (0, 1)]
        (y_min, y_max), (x_min, x_max) = axes
        return ops.stack([y_min, x_min, y_max, x_max], axis=-1)

    def _draw_axis(self, uniform, axis: int):
        extent = self.max_size[axis]
        largest = max(LARGEST_SIDE * extent, self.min_size)
        log_range = math.log(largest / self.min_size)
        side = self.min_size * ops.exp(log_range * uniform[..., axis])
        reach = ops.clip((extent - side) / 2, 0, LARGEST_OFFSET * extent)
        centre = (2 * uniform[..., axis + 2] - 1) * reach
        return centre - side / 2, centre + side / 2

    def get_config(self):
        """Returns the config of the initializer."""
        return {
            "max_size": self.max_size,
            "min_size": self.min_size,
            "seed": self._seed_config,
        }


def get(identifier):
    """Like `keras.initializers.get`, but `"random_boxes"` and `None` give a `RandomBoxes`."""
    if identifier is None or (isinstance(identifier, str) and identifier == "random_boxes"):
        return RandomBoxes()
    return keras.initializers.get(identifier)
