"""Random problems for `box_conv2d`, and functions that compute and check its results on them.

A random problem depends only on its seed and dtype, which the name of a failing test contains.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from keras import ops

from tests import reference, tolerances
from tests.backend import dtype_name, tensor, to_float64, value_and_gradients
from tests.boxes import random_box

DTYPES = ("float64", "float32", "float16", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Problem:
    """The arguments of `box_conv2d` and an upstream gradient."""

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


def make_problem(x, boxes, output_grad, dtype, strides, normalization, data_format) -> Problem:
    """Makes a problem from channels-first float64 arrays."""
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
    """Makes a problem of random shape and options, with boxes of all kinds of `random_box`."""
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
    return make_problem(x, boxes, g, dtype, strides, normalization, data_format)


def output_and_gradients(operator, problem: Problem) -> tuple:
    """Returns `(output, input_grad, boxes_grad)`."""
    out, gradients = value_and_gradients(
        lambda x, boxes: operator(x, boxes, **problem.options),
        [problem.x, tensor(problem.boxes)],
        problem.output_grad,
    )
    return out, *gradients


def second_order_gradients(operator, problem: Problem, through: tuple[str, ...]):
    """Returns gradients of a function of first gradients, to `x`, `boxes` and `output_grad`.

    `through` names the first gradients that the function depends on: "input", "boxes" or both.
    """

    def loss(x, boxes, g):
        _, (input_grad, boxes_grad) = value_and_gradients(
            lambda x, boxes: operator(x, boxes, **problem.options), [x, boxes], g
        )
        total = 0.0
        if "input" in through:
            total = total + ops.sum(input_grad**2 + ops.sin(input_grad))
        if "boxes" in through:
            total = total + ops.sum(ops.tanh(boxes_grad / 10))
        return total

    arguments = [problem.x, tensor(problem.boxes), problem.output_grad]
    return value_and_gradients(loss, arguments)[1]


def assert_within_magnitude(actual, expected, magnitude, dtype: str) -> None:
    """Checks that errors are at most `tolerances.OPERATOR * magnitude + tolerances.UNDERFLOW`.

    `magnitude` is the sum of the magnitudes of the terms that add up to each result.
    """
    actual = to_float64(actual)
    assert actual.shape == expected.shape
    assert np.all(np.isfinite(actual))
    bound = tolerances.OPERATOR[dtype] * magnitude + tolerances.UNDERFLOW[dtype]
    excess = np.abs(actual - expected) - bound
    if excess.size:
        worst = np.unravel_index(np.argmax(excess), excess.shape)
        assert excess[worst] <= 0, (
            f"at {worst}: {actual[worst]!r} instead of {expected[worst]!r}, allowed {bound[worst]}"
        )


def check_against_reference(operator, problem: Problem) -> None:
    """Compares the output of `operator` and its two gradients with the float64 reference."""
    x, g = to_float64(problem.x), to_float64(problem.output_grad)
    boxes, options, dtype = problem.boxes, problem.options, problem.dtype
    out, input_grad, boxes_grad = output_and_gradients(operator, problem)
    assert dtype_name(out) == dtype_name(input_grad) == dtype
    assert dtype_name(boxes_grad) == boxes.dtype
    assert_within_magnitude(
        out,
        reference.box_conv2d(x, boxes, **options),
        reference.box_conv2d(abs(x), boxes, **options),
        dtype,
    )
    expected_input_grad, expected_boxes_grad = reference.box_conv2d_gradients(
        x, boxes, g, **options
    )
    input_magnitude, boxes_magnitude = reference.box_conv2d_gradients(
        abs(x), boxes, abs(g), **options, magnitudes=True
    )
    assert_within_magnitude(input_grad, expected_input_grad, input_magnitude, dtype)
    # Gradients of boxes are float32 at least, whatever the dtype of the images.
    assert_within_magnitude(
        boxes_grad, expected_boxes_grad, boxes_magnitude, dtype_name(boxes_grad)
    )
