"""Random problems for the operator's tests: shapes, options, and boxes of every awkward kind."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

DTYPES = ("float64", "float32", "float16", "bfloat16")
# Relative to the sum of magnitudes: the accuracy asked of each type, and for the half types a few
# of their own roundings (2^-11 and 2^-8).
TOLERANCE = {"float64": 1e-9, "float32": 1e-5, "float16": 1.5e-3, "bfloat16": 1.2e-2}
SMALLEST = {"float64": 1e-300, "float32": 1e-37, "float16": 1e-7, "bfloat16": 1e-37}


@dataclasses.dataclass(frozen=True)
class Problem:
    x: tf.Tensor
    boxes: np.ndarray
    output_grad: tf.Tensor
    strides: tuple[int, int]
    normalization: str | None
    data_format: str

    @property
    def options(self) -> dict:
        return {
            "strides": self.strides,
            "normalization": self.normalization,
            "data_format": self.data_format,
        }

    @property
    def dtype(self) -> str:
        return self.x.dtype.name


def random_box(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """One box: inside, across, outside, larger than the plane, sub-pixel, empty, or on borders."""
    kind = rng.integers(0, 9)
    size = np.array([height, width], np.float64)
    if kind == 0:  # any size and place
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
    elif kind == 7:  # symmetric odd sizes, what people try first
        half = rng.integers(0, 6, 2) + 0.5
        low, high = -half, half
    else:  # one axis thin, the other long
        low = np.array([rng.uniform(-0.5, 0.4), -width * rng.uniform(0.2, 2)])
        high = np.array([low[0] + 0.05, width * rng.uniform(0.1, 2)])
    return np.concatenate([low, high])


def problem_of(x, boxes, output_grad, dtype, strides, normalization, data_format) -> Problem:
    """A problem of a dtype and a data format from float64 arrays, channels first."""
    if data_format == "channels_last":
        x, output_grad = np.moveaxis(x, 1, -1), np.moveaxis(output_grad, 1, -1)
    return Problem(
        x=tf.cast(tf.constant(x), dtype),
        boxes=boxes.astype(np.float64 if dtype == "float64" else np.float32),
        output_grad=tf.cast(tf.constant(output_grad), dtype),
        strides=strides,
        normalization=normalization,
        data_format=data_format,
    )


def random_problem(seed: int, dtype: str) -> Problem:
    rng = np.random.default_rng(seed)
    n, c, m = rng.integers(1, 4), rng.integers(1, 10), rng.integers(1, 6)
    small = rng.random() < 0.4
    height = int(rng.integers(1, 6 if small else 68))
    width = int(rng.integers(1, 6 if small else 44))
    data_format = str(rng.choice(["channels_last", "channels_first"]))
    strides = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    boxes = np.array([[random_box(rng, height, width) for _ in range(m)] for _ in range(c)])
    out = (n, c * m, -(-height // strides[0]), -(-width // strides[1]))
    x, g = rng.normal(rng.normal(), 1, (n, c, height, width)), rng.normal(size=out)
    normalization = [None, "area", "valid"][rng.integers(0, 3)]
    return problem_of(x, boxes, g, dtype, strides, normalization, data_format)


def to_float64(x) -> np.ndarray:
    return tf.cast(x, tf.float64).numpy()


def assert_close(actual, expected, magnitude, dtype: str) -> None:
    """`|actual - expected|` within the dtype's tolerance times `magnitude`, element by element."""
    actual = to_float64(actual)
    assert actual.shape == expected.shape
    assert np.all(np.isfinite(actual))
    bound = TOLERANCE[dtype] * magnitude + SMALLEST[dtype]
    excess = np.abs(actual - expected) - bound
    if excess.size:
        worst = np.unravel_index(np.argmax(excess), excess.shape)
        assert excess[worst] <= 0, (
            f"at {worst}: {actual[worst]!r} instead of {expected[worst]!r}, allowed {bound[worst]}"
        )
