"""Measures the memory that the operator and the layer need beyond inputs, outputs and gradients.

    python -m benchmarks.memory

Each figure is measured in a new process: peak resident memory during one call, minus the resident
memory before the call, minus the size of the returned tensors. A call on a small tensor comes first
to load code and allocate stacks. `box` calls the compiled op and its compiled gradient op directly.
Its rivals are compiled functions of TensorFlow's own ops. `BoxConv2D` is a compiled function of the
layer, with as many filters as channels. Unfused, the layer is `box_conv2d` and a matrix product.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import gc
import sys
from collections.abc import Callable
from pathlib import Path

import rich.table

from benchmarks import command_line, workers
from benchmarks.cases import FORWARD, PASSES, Candidate, Case, random_boxes
from benchmarks.suites import OTHER_SHAPES, STANDARD
from benchmarks.tables import console, threads_text
from examples.pose.cli import progress

BUDGET_CASE = Case(8, 512, 512, 64)
BOX = Candidate("box")
LAYER_CASE = Case(4, 384, 384, 64, multiplier=4)
LAYER = Candidate("BoxConv2D")
UNFUSED_LAYER = Candidate("BoxConv2D, unfused")
BUDGETS = {BOX: 64.0, LAYER: 150.0}  # MiB
_RIVALS = (Candidate("cumsum+gather", 31), Candidate("portable", 31))
# On the first shape the rivals' temporaries would exceed the memory of many machines.
MEASUREMENTS: tuple[tuple[Case, tuple[Candidate, ...]], ...] = (
    (BUDGET_CASE, (BOX,)),
    (Case(2, 512, 512, 64), (BOX, *_RIVALS)),
    (STANDARD, (BOX, *_RIVALS)),
    *((case, (BOX,)) for case in OTHER_SHAPES),
    (LAYER_CASE, (LAYER, UNFUSED_LAYER)),
)


def extra_memory(case: Case, candidate: Candidate, pass_name: str, threads: int) -> float:
    """Measures the MiB that a call needs beyond its arguments and results, in a new process."""
    return workers.in_fresh_process(threads, _extra_memory, case, candidate, pass_name)


def _extra_memory(case: Case, candidate: Candidate, pass_name: str) -> float:
    import tensorflow as tf

    small = dataclasses.replace(case, height=min(case.height, 16), width=min(case.width, 16))
    _call(small, candidate, pass_name)()
    call = _call(case, candidate, pass_name)
    gc.collect()
    _return_freed_memory()
    _reset_peak()
    before = _status("VmRSS")
    returned = tf.nest.flatten(call())
    peak = _status("VmHWM")
    return (peak - before - sum(tensor.numpy().nbytes for tensor in returned)) / 2**20


def _call(case: Case, candidate: Candidate, pass_name: str) -> Callable[[], object]:
    import tensorflow as tf

    from benchmarks import layer_times
    from benchmarks.rivals import RIVALS, Inputs
    from tf_boxconv.backends.tensorflow.library import compiled_ops

    if candidate in (LAYER, UNFUSED_LAYER):
        layer = layer_times.fused_and_unfused(case, case.channels)[candidate.operator]
        x, output_grad = (layer_times.random_images(case.shape, case.dtype, i) for i in range(2))
        return layer_times.compile_call(layer, pass_name, x, output_grad)
    inputs = Inputs(case)
    if candidate != BOX:
        return RIVALS[candidate.operator].call(case, candidate.size, inputs, pass_name)
    arguments = {
        "input": inputs.x,
        "boxes": tf.constant(random_boxes(case)),
        "data_format": "NHWC" if case.data_format == "channels_last" else "NCHW",
        "normalization": case.normalization,
    }

    def call():
        out = compiled_ops.box_conv_box_conv2d(**arguments)
        if pass_name == FORWARD:
            return out
        gradients = compiled_ops.box_conv_box_conv2d_grad(
            output_grad=inputs.output_grad, **arguments
        )
        return out, *gradients

    return call


def _status(name: str) -> int:
    """Returns the bytes of the entry `name` in /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return 1024 * int(line.split()[1])
    raise OSError(f"/proc/self/status has no {name}: this measurement needs Linux")


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _return_freed_memory() -> None:
    # The call could reuse freed memory that the C library keeps, and the peak would miss it.
    with contextlib.suppress(AttributeError):  # Only glibc has malloc_trim.
        ctypes.CDLL(None).malloc_trim(0)


def main(argv: list[str] | None = None) -> None:
    """Measures and prints the table."""
    parser = command_line.make_parser("memory", __doc__)
    parser.add_argument(
        "--threads",
        type=command_line.positive,
        default=workers.default_threads(),
        help="number of threads",
    )
    args = parser.parse_args(argv)
    command_line.print_machine()
    table = rich.table.Table(title=f"memory beyond tensors, {threads_text(args.threads)}")
    for name in ("case", "operator", *(f"{name}, MiB" for name in PASSES), "budget, MiB"):
        table.add_column(name, justify="right" if "MiB" in name else "left")
    for case, candidates in progress.track(MEASUREMENTS, "cases"):
        table.add_section()
        for candidate in candidates:
            extra = [extra_memory(case, candidate, name, args.threads) for name in PASSES]
            budget = f"{BUDGETS[candidate]:.0f}" if candidate in BUDGETS else ""
            cells = [f"{value:.1f}" for value in extra]
            table.add_row(str(case), str(candidate), *cells, budget)
    console.print(table)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
