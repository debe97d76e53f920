"""Random problems for `separable_box_conv2d`, and functions that check its results on them."""

from __future__ import annotations

import dataclasses

import numpy as np
from keras import ops

from tests import reference
from tests.backend import dtype_name, tensor, to_float64, value_and_gradients
from tests.ops.problems import Problem, assert_within_magnitude, random_problem


@dataclasses.dataclass(frozen=True)
class SeparableProblem:
    """The arguments of `separable_box_conv2d` and an upstream gradient."""

    x: object
    boxes: np.ndarray
    kernel: object
    bias: object
    output_grad: object
    options: dict

    @property
    def dtype(self) -> str:
        return dtype_name(self.x)

    @property
    def arguments(self) -> list:
        """`x`, `boxes`, `kernel` and `bias` as tensors."""
        return [self.x, tensor(self.boxes), self.kernel, self.bias]


def with_kernel(problem: Problem, filters: int, seed: int) -> SeparableProblem:
    """Adds a random kernel and bias to a problem of `box_conv2d`, with a new upstream gradient."""
    rng = np.random.default_rng(seed)
    box_count = problem.boxes.shape[0] * problem.boxes.shape[1]
    shape = list(problem.output_grad.shape)
    shape[-1 if problem.data_format == "channels_last" else 1] = filters
    dtype = problem.dtype
    return SeparableProblem(
        x=problem.x,
        boxes=problem.boxes,
        kernel=tensor(rng.normal(size=(box_count, filters)), dtype),
        bias=tensor(rng.normal(size=filters), dtype),
        # Small, so that sums over all pixels, of sums over boxes, do not overflow in float16.
        output_grad=tensor(rng.normal(size=shape) / 64, dtype),
        options=problem.options,
    )


def random_separable_problem(seed: int, dtype: str) -> SeparableProblem:
    """Makes a problem of random shape and options, with 1 to 39 filters."""
    filters = int(np.random.default_rng([seed, 1]).integers(1, 40))
    return with_kernel(random_problem(seed, dtype), filters, seed)


def output_and_gradients(operator, problem: SeparableProblem) -> tuple:
    """Returns `(output, input_grad, boxes_grad, kernel_grad, bias_grad)`."""
    out, gradients = value_and_gradients(
        lambda *arguments: operator(*arguments, **problem.options),
        problem.arguments,
        problem.output_grad,
    )
    return out, *gradients


def second_order_gradients(operator, problem: SeparableProblem, through: tuple[str, ...]):
    """Returns gradients of a function of first gradients, to all arguments and `output_grad`.

    `through` names the first gradients that the function depends on: some of "input", "boxes",
    "kernel" and "bias".
    """

    # Powers, because `ops.sin` and `ops.tanh` give float32 for float64 on JAX (Keras 3.15).
    def loss(x, boxes, kernel, bias, g):
        _, gradients = value_and_gradients(
            lambda *arguments: operator(*arguments, **problem.options), [x, boxes, kernel, bias], g
        )
        named = zip(("input", "boxes", "kernel", "bias"), gradients, strict=True)
        return sum(
            ops.sum(gradient**2 + gradient**3) for name, gradient in named if name in through
        )

    return value_and_gradients(loss, [*problem.arguments, problem.output_grad])[1]


def check_against_reference(operator, problem: SeparableProblem) -> None:
    """Compares the output of `operator` and its four gradients with the float64 reference."""
    found = output_and_gradients(operator, problem)
    dtypes = [dtype_name(array) for array in found]
    assert dtypes == [problem.dtype, problem.dtype, problem.boxes.dtype] + 2 * [problem.dtype]
    x, kernel, bias, g = map(
        to_float64, (problem.x, problem.kernel, problem.bias, problem.output_grad)
    )

    def compute(x, kernel, bias, g, magnitudes):
        return (
            reference.separable_box_conv2d(x, problem.boxes, kernel, bias, **problem.options),
            *reference.separable_box_conv2d_gradients(
                x, problem.boxes, kernel, g, **problem.options, magnitudes=magnitudes
            ),
        )

    expected = compute(x, kernel, bias, g, magnitudes=False)
    magnitudes = compute(abs(x), abs(kernel), abs(bias), abs(g), magnitudes=True)
    for arrays in zip(found, expected, magnitudes, strict=True):
        # Responses and their gradients may be rounded to the dtype of the images.
        assert_within_magnitude(*arrays, problem.dtype)
