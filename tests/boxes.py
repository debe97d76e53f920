"""Random boxes. Imports only NumPy, because checks on machines without Keras use them too."""

from __future__ import annotations

import numpy as np

from tests import tolerances


def random_box(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Returns a box of a random kind: any place, outside, huge, tiny, empty, on borders, thin."""
    kind = rng.integers(0, 9)
    size = np.array([height, width], np.float64)
    if kind == 0:  # any size and position
        low = rng.uniform(-1.5, 1.0, 2) * size
        high = low + rng.uniform(0.01, 1.5, 2) * size
    elif kind == 1:  # outside for most outputs
        low = size * rng.uniform(0.8, 2.0, 2) * rng.choice([-1, 1], 2)
        high = low + rng.uniform(0.1, 3.0, 2)
    elif kind == 2:  # larger than the plane
        low, high = -size * rng.uniform(1, 4, 2), size * rng.uniform(1, 4, 2)
    elif kind == 3:  # smaller than a pixel
        low = rng.uniform(-2, 2, 2)
        high = low + rng.uniform(0.01, 0.9, 2)
    elif kind == 4:  # empty or inverted
        low = rng.uniform(-3, 3, 2)
        high = low - rng.uniform(0, 2, 2) * rng.integers(0, 2, 2)
    elif kind == 5:  # edges on pixel borders
        low = rng.integers(-height, 2, 2) + 0.5
        high = low + rng.integers(1, 2 + width, 2)
    elif kind == 6:  # edges on pixel centres
        low = rng.integers(-height, 2, 2).astype(np.float64)
        high = low + rng.integers(1, 2 + width, 2)
    elif kind == 7:  # symmetric and of odd size, the usual first try
        half = rng.integers(0, 6, 2) + 0.5
        low, high = -half, half
    else:  # one axis thin, the other long
        low = np.array([rng.uniform(-0.5, 0.4), -width * rng.uniform(0.2, 2)])
        high = np.array([low[0] + 0.05, width * rng.uniform(0.1, 2)])
    return np.concatenate([low, high])


def boxes_around_pixel(channels: int, per_channel: int, reach: float, seed: int = 0) -> np.ndarray:
    """Returns boxes whose four edges are 0.6 to `reach` pixels outwards from the output pixel.

    No edge is on a pixel border, where derivatives have two values.
    """
    extents = np.random.default_rng(seed).uniform(0.6, reach, (channels, per_channel, 4))
    return extents * [-1, -1, 1, 1]


def boxes_anywhere(channels: int, per_channel: int, reach: float, seed: int = 0) -> np.ndarray:
    """Returns boxes with sides of at least 0.3, and edges within `reach` of the output pixel."""
    rng = np.random.default_rng(seed)
    low = rng.uniform(-reach, reach - 0.3, (channels, per_channel, 2))
    return np.concatenate([low, rng.uniform(low + 0.3, reach)], axis=-1)


def are_valid(boxes: np.ndarray, max_size: tuple[int, int]) -> bool:
    """Returns whether boxes satisfy `BoxConstraint(max_size)`."""
    size = boxes[..., 2:] - boxes[..., :2]
    within = np.abs(boxes) <= np.tile(max_size, 2) + tolerances.BOX_BOUNDS
    return bool(np.all(size >= 1 - tolerances.BOX_BOUNDS) and np.all(within))
