"""The CUDA kernels on a GPU against the float64 reference, without TensorFlow or pytest.

python -m tests.gpu.kernels [--problems N] [--small]
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from benchmarks.gpu.device import find_device
from benchmarks.gpu.library import DTYPES, GpuError, Library, Problem, build
from tests import reference
from tests.boxes import random_box

# As in tests/ops: relative to the sum of magnitudes.
TOLERANCE = {"float64": 1e-9, "float32": 1e-5, "float16": 1.5e-3, "bfloat16": 1.2e-2}
SMALLEST = {"float64": 1e-300, "float32": 1e-37, "float16": 1e-7, "bfloat16": 1e-37}


def encode(values: np.ndarray, dtype: str) -> np.ndarray:
    """The values as the device stores them. bfloat16, which NumPy lacks, is rounded by hand."""
    if dtype != "bfloat16":
        return values.astype(dtype)
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def decode(data: np.ndarray, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """The other way, to float64, from bytes."""
    if dtype == "bfloat16":
        bits = data.view(np.uint16).astype(np.uint32) << 16
        return bits.view(np.float32).reshape(shape).astype(np.float64)
    return data.view(dtype).reshape(shape).astype(np.float64)


def item_size(dtype: str) -> int:
    return {"float64": 8, "float32": 4}.get(dtype, 2)


class Kernels:
    """The library's functions on NumPy arrays."""

    def __init__(self, device, library: Library):
        self.device, self.library = device, library

    def box_conv2d(self, problem: Problem, x, boxes, g):
        """`(output, input_grad, boxes_grad)`; what is not written shows as NaN."""
        box_dtype = "float64" if problem.dtype == "float64" else "float32"
        inputs = [self.device.upload(x), self.device.upload(boxes.astype(box_dtype))]
        upstream = self.device.upload(g)
        out = self._nans(problem.output_shape, problem.dtype)
        input_grad = self._nans(problem.input_shape, problem.dtype)
        boxes_grad = self._nans(boxes.shape, box_dtype)
        workspace = self.library.workspace("forward", problem)
        self.library.forward(problem, workspace, *inputs, out)
        workspace = self.library.workspace("backward", problem)
        self.library.backward(problem, workspace, *inputs, upstream, input_grad, boxes_grad)
        return (
            decode(self.device.download(out), problem.output_shape, problem.dtype),
            decode(self.device.download(input_grad), problem.input_shape, problem.dtype),
            decode(self.device.download(boxes_grad), boxes.shape, box_dtype),
        )

    def integral_image(self, problem: Problem, x, float32: bool):
        """The table."""
        shape = problem.image_shape(problem.height + 1, problem.width + 1, problem.channels)
        dtype = "float32" if float32 else "float64"
        table = self._nans(shape, dtype)
        workspace = self.library.workspace("integral_image", problem, int(float32))
        self.library.integral_image(problem, float32, workspace, self.device.upload(x), table)
        return decode(self.device.download(table), shape, dtype)

    def _nans(self, shape, dtype):
        return self.device.upload(np.full(int(np.prod(shape)) * item_size(dtype), 255, np.uint8))


def assert_close(what, actual, expected, magnitude, dtype):
    bound = TOLERANCE[dtype] * magnitude + SMALLEST[dtype]
    bad = ~(np.abs(actual - expected) <= bound)  # NaN is bad
    if bad.any():
        i = np.unravel_index(np.argmax(bad), bad.shape)
        raise AssertionError(
            f"{what}: {actual[i]!r} instead of {expected[i]!r} at {i}, allowed {bound[i]!r}; "
            f"{bad.sum()} of {bad.size} are wrong"
        )


def random_problem(rng: np.random.Generator, dtype: str, small: bool) -> Problem:
    """Small planes mostly; at times ones that no multiprocessor's memory holds."""
    kind = rng.random()
    longest = 30 if small or kind < 0.6 else (130 if kind < 0.9 else 700)
    most = 20 if longest < 700 else 3
    return Problem(
        batch=int(rng.integers(1, 4)),
        height=int(rng.integers(1, longest)),
        width=int(rng.integers(1, longest)),
        channels=int(rng.integers(1, most)),
        boxes_per_channel=int(rng.integers(1, 4)),
        strides=(int(rng.integers(1, 4)), int(rng.integers(1, 4))),
        normalization=[None, "area", "valid"][rng.integers(0, 3)],
        data_format=["channels_last", "channels_first"][rng.integers(0, 2)],
        dtype=dtype,
    )


def check_problem(kernels: Kernels, rng: np.random.Generator, problem: Problem) -> None:
    shape = (problem.channels, problem.boxes_per_channel)
    boxes = [random_box(rng, problem.height, problem.width) for _ in range(np.prod(shape))]
    boxes = np.reshape(boxes, (*shape, 4))
    if problem.dtype != "float64":
        boxes = boxes.astype(np.float32)
    stored = [
        encode(rng.normal(rng.normal(), 1, shape), problem.dtype)
        for shape in (problem.input_shape, problem.output_shape)
    ]
    x, g = (
        decode(values.reshape(-1).view(np.uint8), values.shape, problem.dtype) for values in stored
    )
    options = {
        "strides": problem.strides,
        "normalization": problem.normalization,
        "data_format": problem.data_format,
    }
    out, input_grad, boxes_grad = kernels.box_conv2d(problem, stored[0], boxes, stored[1])
    assert_close(
        "output",
        out,
        reference.box_conv2d(x, boxes, **options),
        reference.box_conv2d(abs(x), boxes, **options),
        problem.dtype,
    )
    expected = reference.box_conv2d_gradients(x, boxes, g, **options)
    magnitudes = reference.box_conv2d_gradients(abs(x), boxes, abs(g), **options, magnitudes=True)
    assert_close("input gradient", input_grad, expected[0], magnitudes[0], problem.dtype)
    box_dtype = "float64" if problem.dtype == "float64" else "float32"
    assert_close("box gradient", boxes_grad, expected[1], magnitudes[1], box_dtype)
    again = kernels.box_conv2d(problem, stored[0], boxes, stored[1])
    for first, second in zip((out, input_grad, boxes_grad), again, strict=True):
        assert np.array_equal(first, second), "not the same bits twice"
    check_integral_image(kernels, problem, stored[0], x)


def check_integral_image(kernels: Kernels, problem: Problem, stored, x) -> None:
    expected = reference.integral_image(x, problem.data_format)
    magnitude = reference.integral_image(abs(x), problem.data_format)
    for float32 in (True, False):
        table = kernels.integral_image(problem, stored, float32)
        assert_close("table", table, expected, magnitude, "float32" if float32 else "float64")


def check_precision(kernels: Kernels) -> None:
    """Small and large boxes on a large bright plane with a spike."""
    rng = np.random.default_rng(0)
    problem = Problem(1, 2048, 2048, 1, boxes_per_channel=3)
    x = rng.normal(1000, 1, problem.input_shape).astype(np.float32)
    x[0, 100, 200, 0] = 1e6
    boxes = np.float64([[[-0.5, -0.5, 0.5, 0.5], [-9, -20.25, 8, 21], [-600, -700, 650.5, 700]]])
    out, _, _ = kernels.box_conv2d(problem, x, boxes, np.ones(problem.output_shape, np.float32))
    expected = reference.box_conv2d(x, boxes)
    assert_close("precision", out, expected, expected, "float32")


def check_extremes(kernels: Kernels, images: int = 70000) -> None:
    """Very many tiny planes, and boxes that no plane holds: nothing fails, nothing is NaN."""
    huge = [[[-np.inf, -1e30, np.inf, 1e30]], [[np.nan, 0, 1, 1]], [[-1e308, -2, 9, 3]]]
    for layout in ("channels_last", "channels_first"):
        problem = Problem(images, 1, 1, 3, data_format=layout)
        ones = np.ones(problem.input_shape, np.float32)
        boxes = np.tile(np.float64([-0.5, -0.5, 0.5, 0.5]), (3, 1, 1))
        out, input_grad, boxes_grad = kernels.box_conv2d(problem, ones, boxes, ones)
        assert np.all(out == 1) and np.all(input_grad == 1)
        assert np.allclose(boxes_grad, [images, images, -images, -images])
        problem = Problem(2, 9, 8, 3, data_format=layout, dtype="float64")
        ones = np.ones(problem.input_shape)
        for result in kernels.box_conv2d(problem, ones, np.float64(huge), ones)[:2]:
            assert np.all(np.isfinite(result))


def check_random_problems(kernels: Kernels, problems: int, small: bool) -> None:
    for dtype in DTYPES:
        for seed in range(problems):
            rng = np.random.default_rng(seed)
            problem = random_problem(rng, dtype, small)
            try:
                check_problem(kernels, rng, problem)
            except AssertionError as error:
                raise AssertionError(f"seed {seed}, {problem}: {error}") from error
        print(f"{dtype}: {problems} random problems agree with the reference", flush=True)


def run(problems: int, small: bool = False) -> None:
    """Checks that many random problems of each type, and the special ones."""
    device = find_device()
    print(f"GPU: {device.name}", flush=True)
    kernels = Kernels(device, Library(build(), device))
    check_random_problems(kernels, problems, small)
    check_extremes(kernels)
    if not small:
        check_precision(kernels)
        print("2048x2048 with mean 1000: within 1e-5 of the boxes' mean", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=100, help="for each type of images")
    parser.add_argument("--small", action="store_true", help="no large planes")
    arguments = parser.parse_args()
    try:
        run(arguments.problems, arguments.small)
    except GpuError as error:
        print(f"not run: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
