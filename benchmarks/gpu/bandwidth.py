"""Box convolution as fractions of the measured copy bandwidth, and beside PyTorch's ops."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable

import numpy as np

from benchmarks.gpu.library import Library, Problem

SIZES = (32, 64, 128, 256, 512)
DTYPES = ("float32", "bfloat16")
BYTES = {"float32": 4, "bfloat16": 2}
LAYOUTS = ("channels_last", "channels_first")
BOX_SIDES = (3, 127)
TENSOR_BYTES = 256 << 20  # far beyond any cache
ROUNDS = 5
BUDGET = {"forward": 0.70, "forward+backward": 0.50}


@dataclasses.dataclass(frozen=True)
class Tensors:
    """The device arrays of a problem."""

    problem: Problem
    x: object
    out: object
    input_grad: object
    boxes_grad: object
    boxes: dict[int, object]  # by side


def problem_of(size: int, dtype: str, layout: str, channels: int = 64) -> Problem:
    """Planes of one size that fill TENSOR_BYTES."""
    image_bytes = size * size * channels * BYTES[dtype]
    batch = max(1, TENSOR_BYTES // image_bytes)
    return Problem(batch, size, size, channels, data_format=layout, dtype=dtype)


def square_boxes(channels: int, side: int) -> np.ndarray:
    """One square box a channel, with fractional edges."""
    half = (side - 0.5) / 2
    return np.tile(np.float32([-half, -half, half, half]), (channels, 1, 1))


def median_seconds(device, call: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Median time of a call, each sample of some 20 ms."""
    call()
    once = max(device.seconds(call, 1), 1e-6)
    repeats = max(1, int(0.02 / once))
    return statistics.median(device.seconds(call, repeats) / repeats for _ in range(rounds))


def copy_seconds(device, source, target) -> float:
    """Time of copying one array to another on the device."""
    if device.torch is not None:
        return median_seconds(device, lambda: target.copy_(source))
    return median_seconds(device, lambda: target.__setitem__(slice(None), source))


def tensors_of(device, problem: Problem) -> Tensors:
    """Device arrays for a problem with one box a channel. Pixels are ones."""
    count = int(np.prod(problem.input_shape))
    one = np.float32(1) if problem.dtype == "float32" else np.uint16(0x3F80)
    return Tensors(
        problem,
        device.upload(np.full(count, one)),
        device.empty(count * BYTES[problem.dtype]),
        device.empty(count * BYTES[problem.dtype]),
        device.empty(problem.channels * 16),
        {side: device.upload(square_boxes(problem.channels, side)) for side in BOX_SIDES},
    )


def calls_of(library: Library, tensors: Tensors, side: int) -> dict[str, Callable[[], object]]:
    """What is timed: forward, and forward with backward, of boxes of a side."""
    t, problem = tensors, tensors.problem
    forward_space = library.workspace("forward", problem)
    backward_space = library.workspace("backward", problem)

    def forward():
        library.forward(problem, forward_space, t.x, t.boxes[side], t.out)

    def both():
        forward()
        # The output's own memory stands for an upstream gradient.
        arrays = (t.x, t.boxes[side], t.out, t.input_grad, t.boxes_grad)
        library.backward(problem, backward_space, *arrays)

    return {"forward": forward, "forward+backward": both}


def report(device, library: Library) -> bool:
    """Prints the table of bandwidth fractions; returns whether all budgets were kept."""
    kept = True
    print("\nFractions of copy bandwidth: forward against one copy of the tensor, forward+backward")
    print("against the traffic that both need at least (5 tensors; a copy moves 2).\n")
    print("| planes | layout | type | copy GB/s | forward: 3 | 127 | fwd+bwd: 3 | 127 |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    ratios = []
    for size in SIZES:
        for layout in LAYOUTS:
            for dtype in DTYPES:
                tensors = tensors_of(device, problem_of(size, dtype, layout))
                copying = copy_seconds(device, tensors.x, tensors.out)
                total = int(np.prod(tensors.problem.input_shape)) * BYTES[dtype]
                fractions, times = [], {}
                for name, copies in (("forward", 1.0), ("forward+backward", 2.5)):
                    for side in BOX_SIDES:
                        call = calls_of(library, tensors, side)[name]
                        times[name, side] = median_seconds(device, call)
                        fraction = copies * copying / times[name, side]
                        fractions.append(fraction)
                        kept &= fraction >= BUDGET[name]
                ratios.append(times["forward", BOX_SIDES[1]] / times["forward", BOX_SIDES[0]])
                cells = " | ".join(f"{fraction:.2f}" for fraction in fractions)
                print(
                    f"| {size} | {layout} | {dtype} | {2 * total / copying / 1e9:.0f} | {cells} |"
                )
                del tensors
    worst = max(ratios)
    print(
        f"\nbox 127 over box 3, forward: median {statistics.median(ratios):.3f}, most {worst:.3f}"
    )
    print("budgets: forward 0.70, forward+backward 0.50, box 127 over box 3 at most 1.05")
    return kept and worst <= 1.05


def rivals(device, library: Library) -> None:
    """Prints times beside PyTorch's ops, float32, channels first, 64x64 planes."""
    torch = device.torch
    if torch is None:
        print("\nPyTorch is not installed: its ops were not timed")
        return
    problem = problem_of(64, "float32", "channels_first")
    tensors = tensors_of(device, problem)
    x = tensors.x.view(torch.float32).view(problem.input_shape)
    functional = torch.nn.functional

    def depthwise(side: int):
        weight = torch.ones(problem.channels, 1, side, side, device="cuda")
        return lambda: functional.conv2d(x, weight, padding=side // 2, groups=problem.channels)

    def cumsum_and_gather():
        table = functional.pad(x, (1, 0, 1, 0)).cumsum(-1).cumsum(-2)
        low = torch.arange(64, device="cuda").sub(15).clamp(0, 64)
        high = torch.arange(64, device="cuda").add(16).clamp(0, 64)
        rows = table[:, :, high] - table[:, :, low]
        return rows[..., high] - rows[..., low]

    candidates = {
        "box 3": calls_of(library, tensors, 3)["forward"],
        "box 127": calls_of(library, tensors, 127)["forward"],
        **{f"depthwise {side}x{side}": depthwise(side) for side in (3, 7, 31)},
        "avg_pool2d 31": lambda: functional.avg_pool2d(x, 31, 1, 15),
        "cumsum and gather": cumsum_and_gather,
    }
    print(f"\nForward, float32 {list(problem.input_shape)}, channels first:\n")
    print("| what | ms | times box 127 |")
    print("| --- | --- | --- |")
    times = {name: median_seconds(device, call, 3) for name, call in candidates.items()}
    for name, seconds in times.items():
        print(f"| {name} | {seconds * 1e3:.3f} | {seconds / times['box 127']:.2f} |")
