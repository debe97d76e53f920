"""Checks the CUDA kernels on a GPU against the float64 reference, without TensorFlow or pytest.

python -m tests.gpu.kernels [--problems N] [--brief]
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from benchmarks.gpu.device import find_device
from benchmarks.gpu.library import DTYPES, GpuError, Library, Problem, build
from tests import reference, tolerances
from tests.boxes import random_box

NOT_ALL_RUN = 2  # exit status if no check failed but some could not run


def encode(values: np.ndarray, dtype: str) -> np.ndarray:
    """Converts values to an element type. bfloat16 values are returned as uint16."""
    if dtype != "bfloat16":
        return values.astype(dtype)
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def decode(data: np.ndarray, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Converts the bytes of an array to float64."""
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
        """Returns `(output, input_grad, boxes_grad)`. Elements that were not written are NaN."""
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
        """Returns the integral image."""
        shape = problem.image_shape(problem.height + 1, problem.width + 1, problem.channels)
        dtype = "float32" if float32 else "float64"
        table = self._nans(shape, dtype)
        workspace = self.library.workspace("integral_image", problem, int(float32))
        self.library.integral_image(problem, float32, workspace, self.device.upload(x), table)
        return decode(self.device.download(table), shape, dtype)

    def _nans(self, shape, dtype):
        return self.device.filled(int(np.prod(shape)) * item_size(dtype), 255)


def assert_close(what, actual, expected, magnitude, dtype):
    bound = tolerances.OPERATOR[dtype] * magnitude + tolerances.UNDERFLOW[dtype]
    bad = ~(np.abs(actual - expected) <= bound)  # NaN is bad
    if bad.any():
        i = np.unravel_index(np.argmax(bad), bad.shape)
        raise AssertionError(
            f"{what}: {actual[i]!r} instead of {expected[i]!r} at {i}, allowed {bound[i]!r}; "
            f"{bad.sum()} of {bad.size} are wrong"
        )


def random_problem(rng: np.random.Generator, dtype: str, brief: bool) -> Problem:
    """Returns a problem, mostly with small planes; a few planes do not fit in shared memory."""
    kind = rng.random()
    max_size = 30 if brief or kind < 0.6 else (130 if kind < 0.9 else 700)
    max_channels = 20 if max_size < 700 else 3
    return Problem(
        batch=int(rng.integers(1, 4)),
        height=int(rng.integers(1, max_size)),
        width=int(rng.integers(1, max_size)),
        channels=int(rng.integers(1, max_channels)),
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


def large_problems(dtype: str) -> list[Problem]:
    """Planes too large for shared memory and lines too long for a warp, yet fast enough for
    compute-sanitizer."""
    return [
        Problem(1, 175, 170, 5, dtype=dtype, normalization="valid"),
        Problem(1, 260, 262, 1, 2, (2, 1), "area", "channels_first", dtype),
        Problem(1, 1100, 4, 3, dtype=dtype, normalization="valid"),
        Problem(1, 5, 1101, 2, 2, (1, 2), "area", "channels_first", dtype),
    ]


def check_large_problems(kernels: Kernels, dtypes=DTYPES) -> None:
    for dtype in dtypes:
        for problem in large_problems(dtype):
            check_problem(kernels, np.random.default_rng(0), problem)
    print(
        "planes too large for shared memory, and long lines, agree with the reference", flush=True
    )


def check_many_tables(kernels: Kernels, images: int = 1000) -> None:
    """Checks integral images of many planes, each of several tiles."""
    rng = np.random.default_rng(3)
    for layout, width in (("channels_last", 70), ("channels_first", 150)):
        problem = Problem(images, 9, width, 9, data_format=layout)
        x = rng.normal(1, 1, problem.input_shape).astype(np.float32)
        check_integral_image(kernels, problem, x, np.float64(x))
    print("integral images of many planes agree with the reference", flush=True)


def check_many_chunks(kernels: Kernels) -> None:
    """Checks so many large planes that the workspace holds only some column sums at a time."""
    for layout in ("channels_last", "channels_first"):
        problem = Problem(11, 510, 515, 4, data_format=layout)
        check_problem(kernels, np.random.default_rng(1), problem)
    print("planes that share a workspace in turns agree with the reference", flush=True)


def check_wide_rows(kernels: Kernels, width: int = 70000) -> None:
    """Compares planes whose rows do not fit in shared memory with their transposed planes.

    Other kernels sum long columns, and other tests check those kernels.
    """
    rng = np.random.default_rng(2)
    for layout, channels in (("channels_last", 9), ("channels_first", 2)):
        wide = Problem(1, 3, width, channels, data_format=layout)
        tall = Problem(1, width, 3, channels, data_format=layout)
        turn = (0, 2, 1, 3) if layout == "channels_last" else (0, 1, 3, 2)
        x, g = (rng.normal(1, 1, wide.input_shape).astype(np.float32) for _ in range(2))
        boxes = np.float64([[[-1.25, -7 - 90 * c, 0.75, 30 + 500.5 * c]] for c in range(channels)])
        lying = kernels.box_conv2d(
            tall, np.transpose(x, turn), boxes[..., [1, 0, 3, 2]], np.transpose(g, turn)
        )
        out, input_grad, boxes_grad = kernels.box_conv2d(wide, x, boxes, g)
        assert_close("wide rows", out, np.transpose(lying[0], turn), 10.0, "float32")
        assert_close("input gradient", input_grad, np.transpose(lying[1], turn), 10.0, "float32")
        expected = lying[2][..., [1, 0, 3, 2]]
        assert_close("box gradient", boxes_grad, expected, float(3 * width), "float32")
    print("rows too long for shared memory agree with columns", flush=True)


def check_huge_plane(kernels: Kernels, side: int = 8192) -> None:
    """Checks a plane of ones, for which the results are known."""
    problem = Problem(1, side, side, 1)
    ones = np.ones(problem.input_shape, np.float32)
    box = np.float64([-50.25, -3000.5, 50.5, 20.75])
    out, input_grad, _ = kernels.box_conv2d(problem, ones, box[None, None], ones)

    def overlap(min_edge, max_edge):
        i = np.arange(side)
        return np.minimum(i + max_edge, side - 0.5) - np.maximum(i + min_edge, -0.5)

    area = (box[2] - box[0]) * (box[3] - box[1])
    expected = np.outer(overlap(box[0], box[2]), overlap(box[1], box[3])) / area
    assert_close("huge plane", out[0, ..., 0], expected, 1.0, "float32")
    expected = np.outer(overlap(-box[2], -box[0]), overlap(-box[3], -box[1])) / area
    assert_close("its input gradient", input_grad[0, ..., 0], expected, 1.0, "float32")
    print(f"a plane of {side}x{side} is right", flush=True)


def check_many_elements(kernels: Kernels, images: int = 8200) -> None:
    """Checks the first and the last image of a tensor of more than 2^31 elements.

    Raises:
        GpuError: The device has not enough memory.
    """
    device = kernels.device
    problem = Problem(images, 64, 64, 64, dtype="bfloat16")
    size = int(np.prod(problem.input_shape)) * 2
    if device.free_bytes() < 2.5 * size:
        raise GpuError("not enough memory for a tensor of more than 2^31 elements")
    x, out = device.filled(size, 0x3F), device.filled(size, 255)
    boxes = np.tile(np.float32([-2.5, -2.5, 2.5, 2.5]), (problem.channels, 1, 1))
    workspace = kernels.library.workspace("forward", problem)
    kernels.library.forward(problem, workspace, x, device.upload(boxes), out)
    one = Problem(1, 64, 64, 64, dtype="bfloat16")
    image = size // images
    value = decode(np.full(2, 0x3F, np.uint8), (1,), "bfloat16")[0]
    expected = reference.box_conv2d(np.full(one.input_shape, value), boxes)
    for name, part in (("first", out[:image]), ("last", out[-image:])):
        found = decode(device.download(part), one.input_shape, "bfloat16")
        assert_close(f"{name} image", found, expected, expected, "bfloat16")
    print("a tensor of more than 2^31 elements is right", flush=True)


def check_precision(kernels: Kernels) -> None:
    """Checks the precision of small and large boxes on a large bright plane with a spike."""
    rng = np.random.default_rng(0)
    problem = Problem(1, 2048, 2048, 1, boxes_per_channel=3)
    x = rng.normal(1000, 1, problem.input_shape).astype(np.float32)
    x[0, 100, 200, 0] = 1e6
    boxes = np.float64([[[-0.5, -0.5, 0.5, 0.5], [-9, -20.25, 8, 21], [-600, -700, 650.5, 700]]])
    out, _, _ = kernels.box_conv2d(problem, x, boxes, np.ones(problem.output_shape, np.float32))
    expected = reference.box_conv2d(x, boxes)
    assert_close("precision", out, expected, expected, "float32")


def check_extremes(kernels: Kernels, images: int = 70000) -> None:
    """Checks very many tiny planes, and boxes with infinite, huge and NaN edges."""
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


def check_random_problems(kernels: Kernels, problems: int, brief: bool) -> None:
    for dtype in DTYPES:
        for seed in range(problems):
            rng = np.random.default_rng(seed)
            problem = random_problem(rng, dtype, brief)
            try:
                check_problem(kernels, rng, problem)
            except AssertionError as error:
                raise AssertionError(f"seed {seed}, {problem}: {error}") from error
        print(f"{dtype}: {problems} random problems agree with the reference", flush=True)


def run(problems: int, brief: bool = False) -> None:
    """Checks random problems of each type, and special problems.

    Args:
        problems: Number of random problems of each type.
        brief: Check only small problems and a few of the special problems, with a separate
            allocation for each array. For compute-sanitizer, which is about a thousand times
            slower.
    """
    device = find_device(pooled=not brief)
    print(f"GPU: {device.name}", flush=True)
    kernels = Kernels(device, Library(build(device.architecture), device))
    check_random_problems(kernels, problems, brief)
    check_large_problems(kernels)
    check_many_tables(kernels)
    check_extremes(kernels)
    if brief:
        return
    check_precision(kernels)
    print("2048x2048 with mean 1000: within 1e-5 of the boxes' mean", flush=True)
    for check in (check_many_chunks, check_wide_rows, check_huge_plane, check_many_elements):
        check(kernels)  # the last one may need more memory than the GPU has


def main() -> int:
    """The command `python -m tests.gpu.kernels`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--problems", type=int, default=100, help="random problems of each element type"
    )
    parser.add_argument(
        "--brief", action="store_true", help="only small problems, for compute-sanitizer"
    )
    arguments = parser.parse_args()
    try:
        run(arguments.problems, arguments.brief)
    except GpuError as error:
        print(f"NOT all run: {error}", file=sys.stderr)
        return NOT_ALL_RUN
    return 0


if __name__ == "__main__":
    sys.exit(main())
