"""Time against kernel size: box convolution beside TensorFlow's depthwise convolution.

    python -m benchmarks.operator --output docs/images/time_against_kernel_size.png

Forward, and forward with both gradients, on a float32 tensor `[4, 64, 64, 64]` with one box or one
filter a channel. All candidates take turns, round after round, so that a machine whose speed drifts
harms all alike; the table gives medians, the quartiles beside them, and ratios to the 3x3 depthwise
convolution of the same run.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rich.console
import rich.progress
import rich.table
import tensorflow as tf

import tf_boxconv
from tf_boxconv.ops.box_conv_overlap import box_conv2d_overlap

SHAPE = (4, 64, 64, 64)
BOX_SIZES = (3, 7, 15, 31, 63, 127)
# Larger filters go the same way, and one round of them takes seconds.
DEPTHWISE_SIZES = {"forward": (3, 7, 15, 31), "forward+backward": (3, 7, 15)}
OVERLAP_SIZES = (31,)


def operators(pass_name: str) -> dict[tuple[str, int], Callable]:
    """What to time: (kind, size) -> a function of `x` and a parameter, and the parameter."""
    channels = SHAPE[-1]
    found = {}
    for kind, function, sizes in (
        ("box", tf_boxconv.box_conv2d, BOX_SIZES),
        ("stock ops", box_conv2d_overlap, OVERLAP_SIZES),
    ):
        for size in sizes:
            # Fractional edges: nobody's learned boxes end on pixel borders.
            half = size / 2 - 0.2
            boxes = tf.constant(np.tile(np.float32([-half, -half, half, half]), (channels, 1, 1)))
            found[kind, size] = (function, boxes)
    for size in DEPTHWISE_SIZES[pass_name]:
        filters = tf.random.normal((size, size, channels, 1))
        found["depthwise", size] = (
            lambda x, f: tf.nn.depthwise_conv2d(x, f, (1, 1, 1, 1), "SAME"),
            filters,
        )
    return found


def timed(function: Callable, parameter: tf.Tensor, backward: bool) -> Callable[[], None]:
    """A compiled call to time: forward alone, or with the gradients to input and parameter."""
    x = tf.random.normal(SHAPE)

    @tf.function
    def run():
        if not backward:
            return function(x, parameter)
        with tf.GradientTape() as tape:
            tape.watch([x, parameter])
            out = function(x, parameter)
        return tape.gradient(out, [x, parameter], output_gradients=x)

    run()
    return run


def measure(pass_name: str, rounds: int) -> dict[tuple[str, int], np.ndarray]:
    """Milliseconds of every candidate in every round."""
    calls = {
        key: timed(function, parameter, backward=pass_name != "forward")
        for key, (function, parameter) in operators(pass_name).items()
    }
    times: dict[tuple[str, int], list[float]] = {key: [] for key in calls}
    for _ in rich.progress.track(range(rounds), description=pass_name):
        for key, call in calls.items():
            start = time.perf_counter()
            call()
            times[key].append(1e3 * (time.perf_counter() - start))
    return {key: np.array(values) for key, values in times.items()}


def table_of(pass_name: str, times: dict[tuple[str, int], np.ndarray]) -> rich.table.Table:
    """One row a candidate, with the ratio to the 3x3 depthwise convolution."""
    table = rich.table.Table(title=pass_name)
    for column in ("operator", "size", "ms, median", "quartiles", "x depthwise 3x3"):
        table.add_column(column, justify="right")
    base = np.median(times["depthwise", 3])
    for (kind, size), values in times.items():
        low, middle, high = np.percentile(values, (25, 50, 75))
        table.add_row(
            kind,
            f"{size}x{size}",
            f"{middle:.2f}",
            f"{low:.2f}..{high:.2f}",
            f"{middle / base:.2f}",
        )
    return table


def plot(results: dict[str, dict[tuple[str, int], np.ndarray]], path: Path) -> None:
    """Time against kernel size, one panel a pass."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(results), figsize=(10, 4), constrained_layout=True)
    for panel, (pass_name, times) in zip(panels, results.items(), strict=True):
        for kind, label, marker in (
            ("box", "box convolution", "o"),
            ("depthwise", "TensorFlow depthwise", "s"),
        ):
            sizes = [size for k, size in times if k == kind]
            medians = [np.median(times[kind, size]) for size in sizes]
            panel.plot(sizes, medians, marker=marker, label=label)
        panel.set(xscale="log", yscale="log", title=pass_name, xlabel="kernel size in pixels")
        panel.set_xticks(BOX_SIZES, [str(size) for size in BOX_SIZES])
        panel.minorticks_off()
        panel.set_ylabel("milliseconds")
        panel.grid(alpha=0.3)
        panel.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measures, prints the tables and the machine, and draws the plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="rounds over all candidates")
    parser.add_argument("--threads", type=int, default=0, help="TensorFlow threads; 0: all")
    parser.add_argument("--output", type=Path, help="where to write the plot (.png)")
    args = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(args.threads)

    console = rich.console.Console()
    console.print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, Python "
        f"{platform.python_version()}, TensorFlow {tf.__version__}, float32 {SHAPE}, "
        f"{args.threads or 'all'} threads, {args.rounds} rounds"
    )
    results = {name: measure(name, args.rounds) for name in DEPTHWISE_SIZES}
    for name, times in results.items():
        console.print(table_of(name, times))
    if args.output:
        plot(results, args.output)
        console.print(f"plot: {args.output}")


if __name__ == "__main__":
    main()
