"""Times the CUDA kernels as fractions of the copy bandwidth, and next to PyTorch's ops."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections.abc import Callable

import numpy as np

from benchmarks.gpu.library import Library, Problem

SIZES = (32, 64, 128, 256, 512)
DTYPES = ("float32", "bfloat16")
BYTES = {"float32": 4, "bfloat16": 2}
LAYOUTS = ("channels_last", "channels_first")
BOX_SIDES = (3, 127)
MIXED = "mixed"  # a different box for each channel, as after training
TENSOR_BYTES = 256 << 20  # much larger than any cache
ROUNDS = 5
BUDGET = {"forward": 0.70, "forward+backward": 0.50}
BUDGET_127_OVER_3 = 1.05
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


def problem_of(size: int, dtype: str, layout: str, channels: int = 64) -> Problem:
    """Returns a problem with square planes that fill TENSOR_BYTES."""
    image_bytes = size * size * channels * BYTES[dtype]
    batch = max(1, TENSOR_BYTES // image_bytes)
    return Problem(batch, size, size, channels, data_format=layout, dtype=dtype)


def square_boxes(channels: int, side: int) -> np.ndarray:
    """Returns one square box a channel, with fractional edges."""
    half = (side - 0.5) / 2
    return np.tile(np.float32([-half, -half, half, half]), (channels, 1, 1))


def mixed_boxes(channels: int, longest: int) -> np.ndarray:
    """Returns one random box a channel, with edges up to `longest` / 2 from the output pixel."""
    ends = np.random.default_rng(0).uniform(-longest / 2, longest / 2, (2, channels, 1, 2))
    return np.concatenate([ends.min(0), ends.max(0)], axis=-1).astype(np.float32)


def median_seconds(device, call: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Returns the median time of a call. Each sample lasts about 20 ms."""
    call()
    once = max(device.seconds(call, 1), 1e-6)
    repeats = max(1, int(0.02 / once))
    return statistics.median(device.seconds(call, repeats) / repeats for _ in range(rounds))


def copy_seconds(device, source, target) -> float:
    """Returns the time of copying one array to another on the device."""
    if device.torch is not None:
        return median_seconds(device, lambda: target.copy_(source))
    return median_seconds(device, lambda: target.__setitem__(slice(None), source))


def tensors_of(device, problem: Problem) -> Tensors:
    """Allocates the device arrays of a problem with one box a channel. All pixels are 1."""
    count = int(np.prod(problem.input_shape))
    one = np.float32(1) if problem.dtype == "float32" else np.uint16(0x3F80)
    boxes = {side: square_boxes(problem.channels, side) for side in BOX_SIDES}
    boxes[MIXED] = mixed_boxes(problem.channels, problem.height)
    return Tensors(
        problem,
        device.upload(np.full(count, one)),
        device.empty(count * BYTES[problem.dtype]),
        device.empty(count * BYTES[problem.dtype]),
        device.empty(problem.channels * 16),
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


def check_ones(device, tensors: Tensors) -> None:
    """Raises an error unless the outputs in the centre of the first and last image are 1."""
    problem = tensors.problem
    image_bytes = int(np.prod(problem.output_shape[1:])) * BYTES[problem.dtype]
    middle = problem.height // 2
    for image in (tensors.out[:image_bytes], tensors.out[-image_bytes:]):
        data = device.download(image)
        if problem.dtype == "bfloat16":
            data = data.view(np.uint16).astype(np.uint32) << 16
        out = data.view(np.float32).reshape(problem.output_shape[1:])
        last = problem.data_format == "channels_last"
        found = out[middle, middle] if last else out[:, middle, middle]
        if not np.allclose(found, 1, atol=1e-2):
            raise AssertionError(f"{problem}: means of ones are {found}")


def measure(device, library: Library, problem: Problem) -> tuple[float, dict[tuple, float]]:
    """Returns the seconds of a copy, and of each (pass, boxes)."""
    tensors = tensors_of(device, problem)
    copying = copy_seconds(device, tensors.x, tensors.out)
    times = {}
    for boxes in (*BOX_SIDES, MIXED):
        for name, call in calls_of(library, tensors, boxes).items():
            times[name, boxes] = median_seconds(device, call)
            if name == "forward" and boxes == BOX_SIDES[0]:
                check_ones(device, tensors)
    return copying, times


def report(device, library: Library) -> bool:
    """Prints the table of bandwidth fractions; returns whether all budgets were kept."""
    kept = True
    print("\nFractions of copy bandwidth. Forward is compared with one copy of the tensor,")
    print("forward+backward with its minimal traffic (5 tensors; a copy moves 2). Boxes of 3x3, of")
    print("127x127, and mixed: a different box for each channel.\n")
    print(
        "| planes | layout | type | copy GB/s | forward: 3 | 127 | mixed "
        "| fwd+bwd: 3 | 127 | mixed |"
    )
    print("| --- " * 10 + "|")
    ratios = []
    for size, layout, dtype in itertools.product(SIZES, LAYOUTS, DTYPES):
        problem = problem_of(size, dtype, layout)
        copying, times = measure(device, library, problem)
        total = int(np.prod(problem.input_shape)) * BYTES[dtype]
        copies = {"forward": 1.0, "forward+backward": 2.5}
        fractions = {key: copies[key[0]] * copying / time for key, time in times.items()}
        kept &= all(fractions[name, side] >= BUDGET[name] for name in BUDGET for side in BOX_SIDES)
        ratios.append(times["forward", BOX_SIDES[1]] / times["forward", BOX_SIDES[0]])
        shown = itertools.product(BUDGET, (*BOX_SIDES, MIXED))
        cells = " | ".join(f"{fractions[key]:.2f}" for key in shown)
        print(f"| {size} | {layout} | {dtype} | {2 * total / copying / 1e9:.0f} | {cells} |")
    worst = max(ratios)
    print(f"\nbox 127 over box 3, forward: median {statistics.median(ratios):.3f}, max {worst:.3f}")
    budgets = ", ".join(f"{name} >= {minimum:.2f}" for name, minimum in BUDGET.items())
    print(f"budgets: {budgets}, box 127 over box 3 <= {BUDGET_127_OVER_3}; none for mixed")
    return kept and worst <= BUDGET_127_OVER_3


def report_integral_images(device, library: Library) -> None:
    """Prints the bandwidth fractions of integral images, with many planes and with a single one."""
    print("\nIntegral images, float32 to float32, compared with one copy:\n")
    print("| images | layout | fraction |")
    print("| --- " * 3 + "|")
    for layout, (size, channels) in itertools.product(LAYOUTS, ((64, 64), (512, 64), (8192, 1))):
        problem = problem_of(size, "float32", layout, channels)
        tensors = tensors_of(device, problem)
        table = device.empty(int(np.prod(problem.image_shape(size + 1, size + 1, channels))) * 4)
        workspace = library.workspace("integral_image", problem, 1)
        seconds = median_seconds(
            device,
            lambda made=(problem, True, workspace, tensors.x, table): library.integral_image(*made),
        )
        last = device.download(table[-4:]).view(np.float32)[0]
        if not np.isclose(last, size * size, rtol=1e-6):
            raise AssertionError(f"{problem}: the last entry of the table of ones is {last}")
        fraction = copy_seconds(device, tensors.x, tensors.out) / seconds
        print(f"| {list(problem.input_shape)} | {layout} | {fraction:.2f} |")


def report_rivals(device, library: Library) -> bool | None:
    """Prints times of the box and of PyTorch's ops, in float32, channels first, 64x64 planes.

    Returns:
        Whether the box is faster than the fastest 31x31 depthwise convolution by the budgeted
        factor. None without PyTorch.
    """
    torch = device.torch
    if torch is None:
        print("\nPyTorch is not installed: its ops were not timed")
        return None
    problem = problem_of(64, "float32", "channels_first")
    tensors = tensors_of(device, problem)
    x = tensors.x.view(torch.float32).view(problem.input_shape)
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
            times[name] = median_seconds(device, call, 3)
            print(f"| {name} | {times[name] * 1e3:.3f} | {times[name] / times['box 127']:.2f} |")
        except RuntimeError as error:  # not every PyTorch has every algorithm
            print(f"| {name} | failed: {str(error).splitlines()[0]} | |")
    print(f"\nbudget: the faster depthwise 31x31 >= {BUDGET_OVER_DEPTHWISE_31} x box 127")
    found = [times[name] for name in largest if name in times]
    return min(found) >= BUDGET_OVER_DEPTHWISE_31 * times["box 127"] if found else None
