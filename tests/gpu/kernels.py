"""Checks the CUDA kernels on a GPU against the float64 reference, without TensorFlow or pytest.

python -m tests.gpu.kernels [--smoke | --brief] [--problems N]

Every check runs, also after failures; a failure says which type and path it concerns.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np

from benchmarks.gpu.device import Gpu
from benchmarks.gpu.library import DTYPES, Library, Problem, build
from tests import reference, tolerances
from tests.boxes import random_box


class NotRun(Exception):
    """A check needs more device memory than there is."""


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

    def box_conv2d(self, problem: Problem, x, boxes, g, offset: int = 0, run=lambda call: call()):
        """Returns `(output, input_grad, boxes_grad)`. Elements that were not written are NaN.

        Images begin `offset` elements behind an aligned address. `run` calls what it is given.
        """
        box_dtype = "float64" if problem.dtype == "float64" else "float32"
        skipped = offset * item_size(problem.dtype)
        padding = np.zeros(skipped, np.uint8)

        def uploaded(values):
            data = np.concatenate(
                [padding, np.ascontiguousarray(values).reshape(-1).view(np.uint8)]
            )
            return self.device.upload(data)[skipped:]

        def nans(shape):
            size = int(np.prod(shape)) * item_size(problem.dtype)
            return self.device.filled(skipped + size, 255)[skipped:]

        inputs = [uploaded(x), self.device.upload(boxes.astype(box_dtype))]
        upstream, out, input_grad = (
            uploaded(g),
            nans(problem.output_shape),
            nans(problem.input_shape),
        )
        boxes_grad = self._nans(boxes.shape, box_dtype)
        spaces = [self.library.workspace(name, problem) for name in ("forward", "backward")]
        gradients = (input_grad, boxes_grad)
        run(lambda: self.library.forward(problem, spaces[0], *inputs, out))
        run(lambda: self.library.backward(problem, spaces[1], *inputs, upstream, *gradients))
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
        self.library.integral_image(problem, float32, self.device.upload(x), table)
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


def check_problem(kernels: Kernels, rng: np.random.Generator, problem: Problem, **how) -> None:
    """Compares a problem with the reference. `how` is passed to `Kernels.box_conv2d`."""
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
    out, input_grad, boxes_grad = kernels.box_conv2d(problem, stored[0], boxes, stored[1], **how)
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
    again = kernels.box_conv2d(problem, stored[0], boxes, stored[1], **how)
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
    """Lines of several segments, and lines that do not fit in shared memory, yet few pixels: fast
    enough for compute-sanitizer."""
    return [
        Problem(1, 175, 170, 5, dtype=dtype, normalization="valid"),
        Problem(1, 260, 262, 1, 2, (2, 1), "area", "channels_first", dtype),
        Problem(1, 2100, 4, 3, dtype=dtype, normalization="valid"),
        Problem(1, 5, 2101, 2, 2, (1, 2), "area", "channels_first", dtype),
    ]


def smoke_problems() -> list[Problem]:
    """Eight problems that run every kernel: each type, packets and single values, both layouts,
    lines in shared memory and in tensors."""
    return [
        Problem(2, 64, 64, 64),
        Problem(1, 130, 130, 64, 4),
        Problem(3, 64, 64, 5, 2, data_format="channels_first"),
        Problem(1, 130, 130, 64, dtype="bfloat16"),
        Problem(2, 61, 67, 9, 2, (2, 3), "valid", "channels_first", "float16"),
        Problem(2, 40, 50, 7, 3, (1, 2), "valid", "channels_last", "float64"),
        Problem(1, 3, 9000, 2, 2, normalization="valid"),
        Problem(1, 9000, 3, 2, data_format="channels_first", dtype="bfloat16"),
    ]


def layer_problems() -> list[Problem]:
    """The shapes of layers: 64 channels, where everything is copied in packets."""
    return [
        Problem(1, side, side, 64, boxes, data_format=layout, dtype=dtype)
        for side in (64, 130)
        for boxes in (1, 4)
        for layout in ("channels_last", "channels_first")
        for dtype in ("float32", "bfloat16")
    ]


def check_offsets(kernels: Kernels) -> None:
    """Checks images that are not aligned for packets."""
    for dtype in ("float32", "bfloat16"):
        for layout in ("channels_last", "channels_first"):
            problem = Problem(2, 32, 40, 32, data_format=layout, dtype=dtype)
            check_problem(kernels, np.random.default_rng(4), problem, offset=1)


def check_streams(kernels: Kernels) -> None:
    """Checks work on stream 0 and work in a CUDA graph. All other checks use another stream."""
    gpu = kernels.device
    problem = Problem(2, 48, 52, 16, 2, normalization="valid")

    def through_a_graph(call):
        call()  # loads the kernels, which cannot be done during a capture
        gpu.synchronize()
        gpu.in_graph(call)()

    check_problem(kernels, np.random.default_rng(5), problem, run=through_a_graph)
    gpu.uses_stream_0 = True
    try:
        check_problem(kernels, np.random.default_rng(6), problem)
    finally:
        gpu.uses_stream_0 = False


def check_many_tables(kernels: Kernels, images: int = 1000) -> None:
    """Checks integral images of many planes, each of several tiles."""
    rng = np.random.default_rng(3)
    for layout, width in (("channels_last", 70), ("channels_first", 150)):
        problem = Problem(images, 9, width, 9, data_format=layout)
        x = rng.normal(1, 1, problem.input_shape).astype(np.float32)
        check_integral_image(kernels, problem, x, np.float64(x))


def check_many_chunks(kernels: Kernels) -> None:
    """Checks so many large planes that the workspace holds only some column sums at a time."""
    for layout in ("channels_last", "channels_first"):
        problem = Problem(11, 510, 515, 4, data_format=layout)
        check_problem(kernels, np.random.default_rng(1), problem)


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


def check_many_elements(kernels: Kernels, images: int = 8200) -> None:
    """Checks the first and the last image of a tensor of more than 2^31 elements.

    Raises:
        NotRun: The device has not enough memory.
    """
    device = kernels.device
    problem = Problem(images, 64, 64, 64, dtype="bfloat16")
    size = int(np.prod(problem.input_shape)) * 2
    if device.free_bytes() < 2.5 * size:
        raise NotRun(f"{2.5 * size / 2**30:.0f} GiB of free memory are needed")
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


Check = tuple[str, Callable[[], None]]


def problem_checks(kernels: Kernels, problems: list[Problem]) -> list[Check]:
    """Returns a check of each problem."""
    return [
        (str(problem), lambda p=problem: check_problem(kernels, np.random.default_rng(0), p))
        for problem in problems
    ]


def random_checks(kernels: Kernels, problems: int, brief: bool) -> list[Check]:
    """Returns checks of random problems of each type."""
    checks = []
    for dtype in DTYPES:
        for seed in range(problems):
            rng = np.random.default_rng(seed)
            problem = random_problem(rng, dtype, brief)
            name = f"seed {seed}, {problem}"
            checks.append((name, lambda r=rng, p=problem: check_problem(kernels, r, p)))
    return checks


def special_checks(kernels: Kernels) -> list[Check]:
    """Returns the checks that need seconds each."""
    functions = (
        check_streams,
        check_offsets,
        check_extremes,
        check_precision,
        check_many_tables,
        check_many_chunks,
        check_wide_rows,
        check_huge_plane,
        check_many_elements,
    )
    return [(function.__name__, lambda f=function: f(kernels)) for function in functions]


def run(checks: list[Check]) -> int:
    """Runs all checks and prints each failure; returns the number of failures."""
    failures, start = 0, time.monotonic()
    for done, (name, check) in enumerate(checks, 1):
        try:
            check()
        except NotRun as error:
            print(f"NOT run: {name}: {error}", flush=True)
        except Exception as error:  # the others shall run, whatever happens
            failures += 1
            print(f"FAILED: {name}: {type(error).__name__}: {error}", flush=True)
        if done % 50 == 0 or done == len(checks):
            seconds = time.monotonic() - start
            print(f"{done} of {len(checks)} checks, {failures} failed, {seconds:.0f} s", flush=True)
    return failures


def main() -> int:
    """The command `python -m tests.gpu.kernels`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=40, help="random problems of each type")
    parser.add_argument("--smoke", action="store_true", help="only eight problems")
    parser.add_argument(
        "--brief", action="store_true", help="only small problems, for compute-sanitizer"
    )
    arguments = parser.parse_args()
    gpu = Gpu()
    kernels = Kernels(gpu, Library(build(gpu.architecture), gpu))
    if arguments.smoke:
        checks = problem_checks(kernels, smoke_problems())
    else:
        checks = random_checks(kernels, arguments.problems, arguments.brief)
        large = [problem for dtype in DTYPES for problem in large_problems(dtype)]
        checks += problem_checks(kernels, large)
    if not (arguments.smoke or arguments.brief):
        checks += problem_checks(kernels, smoke_problems() + layer_problems())
        checks += special_checks(kernels)
    return 1 if run(checks) else 0


if __name__ == "__main__":
    sys.exit(main())
