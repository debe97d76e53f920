"""Times the CUDA kernels as fractions of the copy bandwidth, and next to PyTorch's ops.

python -m benchmarks.gpu.bandwidth [--rivals]
"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import sys
from collections.abc import Callable

import numpy as np

from benchmarks import command_line
from benchmarks.gpu.device import Gpu
from benchmarks.gpu.library import LAYOUTS, GpuError, Library, Problem, build

SIZES = (64, 128, 512, 2048)
SMALL_SIZES = (14, 28, 56, 112)  # of classification networks; channels last only
DTYPES = ("float32", "bfloat16")
BYTES = {"float32": 4, "bfloat16": 2}
BOX_SIDES = (3, 127)
MIXED = "mixed"  # a different box for each channel, as after training
TENSOR_BYTES = 256 << 20  # of all tensors together; much larger than any cache
ROUNDS = 5
BUDGET = {
    ("forward", "float32"): 0.65,
    ("forward", "bfloat16"): 0.40,
    ("forward+backward", "float32"): 0.40,
    ("forward+backward", "bfloat16"): 0.25,
}
BUDGET_SIZES = (64, 128, 512)
BUDGET_OVER_DEPTHWISE_31 = 20


@dataclasses.dataclass(frozen=True)
class Tensors:
    """The device arrays of a problem."""

    problem: Problem
    x: object
    out: object
    input_grad: object
    boxes_grad: object
    boxes: dict[int | str, object]  # by side, or MIXED

    @property
    def input_bytes(self) -> int:
        """The size of the input."""
        return int(np.prod(self.problem.input_shape)) * BYTES[self.problem.dtype]

    @property
    def output_bytes(self) -> int:
        """The size of the output."""
        return int(np.prod(self.problem.output_shape)) * BYTES[self.problem.dtype]


def problem_of(
    size: int, dtype: str, layout: str, channels: int = 64, boxes: int = 1, batch: int | None = None
) -> Problem:
    """Returns a problem with square planes. By default, its output fills TENSOR_BYTES."""
    image_bytes = size * size * channels * boxes * BYTES[dtype]
    batch = batch or max(1, TENSOR_BYTES // image_bytes)
    return Problem(batch, size, size, channels, boxes, data_format=layout, dtype=dtype)


def square_boxes(count: int, side: int) -> np.ndarray:
    """Returns `count` equal square boxes with fractional edges."""
    half = (side - 0.5) / 2
    return np.tile(np.float32([-half, -half, half, half]), (count, 1))


def mixed_boxes(count: int, longest: int) -> np.ndarray:
    """Returns random boxes with edges up to `longest` / 2 from the output pixel."""
    ends = np.random.default_rng(0).uniform(-longest / 2, longest / 2, (2, count, 2))
    return np.concatenate([ends.min(0), ends.max(0)], axis=-1).astype(np.float32)


def median_seconds(device, call: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Returns the median time of a call. Each sample lasts about 20 ms."""
    call()
    once = max(device.seconds(call, 1), 1e-6)
    repeats = max(1, int(0.02 / once))
    return statistics.median(device.seconds(call, repeats) / repeats for _ in range(rounds))


def copy_rate(device) -> float:
    """Returns the bytes that a copy reads and writes in a second."""
    source, target = device.empty(TENSOR_BYTES), device.empty(TENSOR_BYTES)
    return 2 * TENSOR_BYTES / median_seconds(device, lambda: device.copy(source, target))


def random_values(count: int, dtype: str) -> np.ndarray:
    """Returns random values of order 1. A block of 2^20 values is repeated."""
    values = np.random.default_rng(0).normal(0, 1, min(count, 1 << 20)).astype(np.float32)
    if dtype == "bfloat16":
        values = (values.view(np.uint32) >> 16).astype(np.uint16)
    return np.resize(values, count)


def tensors_of(device, problem: Problem) -> Tensors:
    """Allocates the device arrays of a problem."""
    inputs, outputs = int(np.prod(problem.input_shape)), int(np.prod(problem.output_shape))
    count = problem.channels * problem.boxes_per_channel
    boxes = {side: square_boxes(count, side) for side in BOX_SIDES}
    boxes[MIXED] = mixed_boxes(count, problem.height)
    return Tensors(
        problem,
        device.upload(random_values(inputs, problem.dtype)),
        device.empty(outputs * BYTES[problem.dtype]),
        device.empty(inputs * BYTES[problem.dtype]),
        device.empty(count * 16),
        {name: device.upload(each) for name, each in boxes.items()},
    )


def calls_of(library: Library, tensors: Tensors, boxes: int | str) -> dict[str, Callable]:
    """Returns the calls to time, by pass, for one kind of boxes."""
    t, problem = tensors, tensors.problem
    forward_space = library.workspace("forward", problem)
    backward_space = library.workspace("backward", problem)

    def forward():
        library.forward(problem, forward_space, t.x, t.boxes[boxes], t.out)

    def both():
        forward()
        # The output serves as upstream gradient.
        arrays = (t.x, t.boxes[boxes], t.out, t.input_grad, t.boxes_grad)
        library.backward(problem, backward_space, *arrays)

    return {"forward": forward, "forward+backward": both}


def fractions_of(device, library: Library, problem: Problem, rate: float) -> dict[tuple, float]:
    """Returns the fraction of the copy's rate for each (pass, boxes).

    Counted are the bytes that must be moved: forward reads the input and writes the output;
    backward reads both tensors' counterparts and writes the input gradient.
    """
    tensors = tensors_of(device, problem)
    forward = tensors.input_bytes + tensors.output_bytes
    counted = {"forward": forward, "forward+backward": 2 * forward + tensors.input_bytes}
    return {
        (name, boxes): counted[name] / rate / median_seconds(device, call)
        for boxes in (*BOX_SIDES, MIXED)
        for name, call in calls_of(library, tensors, boxes).items()
    }


def problems_to_time() -> list[Problem]:
    """Returns the problems of the table."""
    problems = [
        problem_of(size, dtype, layout, boxes=boxes)
        for size, layout, dtype, boxes in itertools.product(SIZES, LAYOUTS, DTYPES, (1, 4))
    ]
    problems += [problem_of(size, "float32", LAYOUTS[0], channels=256) for size in SMALL_SIZES]
    problems += [problem_of(size, "float32", LAYOUTS[0], batch=1) for size in (64, 512)]
    return problems


def report(device, library: Library) -> bool:
    """Prints the table of bandwidth fractions; returns whether all budgets were kept."""
    rate, kept = copy_rate(device), True
    print(f"\nCopy: {rate / 1e9:.0f} GB/s, read and written. Fractions of it, for boxes of 3x3, of")
    print("127x127, and mixed: a different box for each channel.\n")
    print("| input | boxes | layout | type | forward: 3 | 127 | mixed | fwd+bwd: 3 | 127 | mixed |")
    print("| --- " * 10 + "|", flush=True)
    for problem in problems_to_time():
        fractions = fractions_of(device, library, problem, rate)
        if problem.height in BUDGET_SIZES and problem.batch > 1:
            kept &= all(
                fractions[name, boxes] >= minimum
                for (name, dtype), minimum in BUDGET.items()
                for boxes in (*BOX_SIDES, MIXED)
                if dtype == problem.dtype
            )
        shown = itertools.product(("forward", "forward+backward"), (*BOX_SIDES, MIXED))
        cells = " | ".join(f"{fractions[key]:.2f}" for key in shown)
        what = f"{list(problem.input_shape)} | {problem.boxes_per_channel} | {problem.data_format}"
        print(f"| {what} | {problem.dtype} | {cells} |", flush=True)
    budgets = ", ".join(f"{' '.join(key)} >= {minimum:.2f}" for key, minimum in BUDGET.items())
    print(f"\nbudgets, for sides {BUDGET_SIZES}: {budgets}: {'kept' if kept else 'MISSED'}")
    return kept


def report_integral_images(device, library: Library) -> None:
    """Prints the bandwidth fractions of integral images, with many planes and with a single one."""
    print("\nIntegral images, float32 to float32, compared with one copy:\n")
    print("| images | layout | fraction |")
    print("| --- " * 3 + "|")
    for layout, (size, channels) in itertools.product(LAYOUTS, ((64, 64), (512, 64), (8192, 1))):
        problem = problem_of(size, "float32", layout, channels)
        tensors = tensors_of(device, problem)
        table = device.empty(int(np.prod(problem.image_shape(size + 1, size + 1, channels))) * 4)
        seconds = median_seconds(
            device,
            lambda made=(problem, True, tensors.x, table): library.integral_image(*made),
        )
        fraction = 2 * tensors.input_bytes / copy_rate(device) / seconds
        print(f"| {list(problem.input_shape)} | {layout} | {fraction:.2f} |", flush=True)


class TorchClock:
    """Times work on PyTorch's stream."""

    def __init__(self, torch):
        self._torch = torch

    def seconds(self, call: Callable[[], object], repeats: int) -> float:
        """Returns the time of `repeats` calls, measured by the device."""
        start, end = (self._torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(repeats):
            call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3


def report_rivals(device, library: Library) -> bool | None:
    """Prints times of the box and of PyTorch's ops, in float32, channels first, 64x64 planes.

    Returns:
        Whether the box is faster than the fastest 31x31 depthwise convolution by the budgeted
        factor. None without PyTorch.
    """
    try:
        import torch
    except ImportError:
        print("\nNOT run: PyTorch is not installed, so its ops were not timed")
        return None
    if not torch.cuda.is_available():
        print("\nNOT run: PyTorch sees no GPU")
        return None
    problem = problem_of(64, "float32", "channels_first")
    tensors = tensors_of(device, problem)
    x = torch.randn(problem.input_shape, device="cuda")
    functional = torch.nn.functional

    def weight(side: int):
        return torch.ones(problem.channels, 1, side, side, device="cuda")

    def depthwise(side: int):
        kernel = weight(side)
        return lambda: functional.conv2d(x, kernel, padding=side // 2, groups=problem.channels)

    def cudnn_depthwise(side: int):
        kernel, half = weight(side), (side // 2, side // 2)
        options = {"benchmark": False, "deterministic": False, "allow_tf32": True}
        return lambda: torch.cudnn_convolution(
            x, kernel, half, (1, 1), (1, 1), problem.channels, **options
        )

    def cumsum_and_gather():
        table = functional.pad(x, (1, 0, 1, 0)).cumsum(-1).cumsum(-2)
        low = torch.arange(64, device="cuda").sub(15).clamp(0, 64)
        high = torch.arange(64, device="cuda").add(16).clamp(0, 64)
        rows = table[:, :, high] - table[:, :, low]
        return rows[..., high] - rows[..., low]

    largest = ("depthwise 31x31", "cuDNN depthwise 31x31")
    candidates = {  # The others are compared with the first.
        "box 127": calls_of(library, tensors, 127)["forward"],
        "box 3": calls_of(library, tensors, 3)["forward"],
        "depthwise 3x3": depthwise(3),
        "depthwise 7x7": depthwise(7),
        largest[0]: depthwise(31),
        "cuDNN depthwise 3x3": cudnn_depthwise(3),
        "cuDNN depthwise 7x7": cudnn_depthwise(7),
        largest[1]: cudnn_depthwise(31),
        "avg_pool2d 31": lambda: functional.avg_pool2d(x, 31, 1, 15),
        "cumsum and gather": cumsum_and_gather,
    }
    print(f"\nForward, float32 {list(problem.input_shape)}, channels first:\n")
    print("| operator | ms | x box 127 |")
    print("| --- | --- | --- |")
    times = {}
    for name, call in candidates.items():
        try:
            # PyTorch's work is on another stream, so its own events measure it.
            clock = device if name.startswith("box") else TorchClock(torch)
            times[name] = median_seconds(clock, call, 3)
            print(f"| {name} | {times[name] * 1e3:.3f} | {times[name] / times['box 127']:.2f} |")
        except RuntimeError as error:  # not every PyTorch has every algorithm
            print(f"| {name} | failed: {str(error).splitlines()[0]} | |")
    print(f"\nbudget: the faster depthwise 31x31 >= {BUDGET_OVER_DEPTHWISE_31} x box 127")
    found = [times[name] for name in largest if name in times]
    return min(found) >= BUDGET_OVER_DEPTHWISE_31 * times["box 127"] if found else None


def main(argv: list[str] | None = None) -> int:
    """The command `python -m benchmarks.gpu.bandwidth`."""
    parser = command_line.make_parser("gpu.bandwidth", __doc__)
    parser.add_argument("--rivals", action="store_true", help="time PyTorch's ops instead")
    rivals = parser.parse_args(argv).rivals
    try:
        device = Gpu()
        library = Library(build(device.architecture), device)
        if rivals:
            return 1 if report_rivals(device, library) is False else 0
        kept = report(device, library)
        report_integral_images(device, library)
    except GpuError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(command_line.run(main))
