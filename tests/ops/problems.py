"""Random problems for the operator's tests: shapes, options, and boxes of every awkward kind."""

from __future__ import annotations

import dataclasses

import numpy as np

from tests.backend import dtype_name, tensor, to_float64
from tests.boxes import random_box

DTYPES = ("float64", "float32", "float16", "bfloat16")
# Relative to the sum of magnitudes: the accuracy asked of each type, and for the half types a few
# of their own roundings (2^-11 and 2^-8).
TOLERANCE = {"float64": 1e-9, "float32": 1e-5, "float16": 1.5e-3, "bfloat16": 1.2e-2}
SMALLEST = {"float64": 1e-300, "float32": 1e-37, "float16": 1e-7, "bfloat16": 1e-37}


@dataclasses.dataclass(frozen=True)
class Problem:
    x: object
    boxes: np.ndarray
    output_grad: object
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
        return dtype_name(self.x)


def problem_of(x, boxes, output_grad, dtype, strides, normalization, data_format) -> Problem:
    """A problem of a dtype and a data format from float64 arrays, channels first."""
    if data_format == "channels_last":
        x, output_grad = np.moveaxis(x, 1, -1), np.moveaxis(output_grad, 1, -1)
    return Problem(
        x=tensor(x, dtype),
        boxes=boxes.astype(np.float64 if dtype == "float64" else np.float32),
        output_grad=tensor(output_grad, dtype),
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
