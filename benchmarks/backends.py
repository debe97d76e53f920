"""Trains the pose network on every Keras backend, and on TensorFlow with and without XLA.

    python -m benchmarks.backends

All trainings start from the same weights and see the same pictures in the same order. Their losses
should agree up to rounding errors, which training amplifies. Backends that are not installed are
skipped. TensorFlow makes steps with and without XLA alternately in one process, so their times can
be compared. Each backend runs in its own process, so times of backends compare only roughly.

By default the network has only boxes and 1x1 convolutions, because XLA's depthwise convolutions and
interpolation on CPUs are a few times slower than TensorFlow's. `--context` changes this.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path

import numpy as np
import rich.table

from benchmarks import command_line, machine, timing, workers
from benchmarks.tables import console
from examples.pose import models

BACKENDS = ("tensorflow", "jax", "torch")


def difference(losses: list[float], reference: list[float]) -> float:
    """Returns the largest relative difference between the losses of the same step."""
    return float(np.max(np.abs(np.array(losses) - reference) / np.abs(reference)))


def backends_table(found: dict[str, dict]) -> rich.table.Table:
    """Returns a table with one row per backend. The losses are compared with the first backend."""
    table = rich.table.Table(title="training the pose network on Keras's backends")
    table.add_column("backend")
    for name in ("steps", "first loss", "last loss", "largest difference", "ms / step"):
        table.add_column(name, justify="right")
    first = next(iter(found.values()))["losses"]
    for name, result in found.items():
        losses = result["losses"]
        table.add_row(
            name,
            str(len(losses)),
            f"{losses[0]:.5f}",
            f"{losses[-1]:.5f}",
            f"{difference(losses, first):.1e}",
            f"{result['seconds'] * 1e3:.0f}",
        )
    return table


def xla_table(found: dict[str, dict[str, list[float]]]) -> rich.table.Table:
    """Returns a table of TensorFlow with and without XLA. It leaves out the first step."""
    table = rich.table.Table(title="training the pose network on TensorFlow, with and without XLA")
    table.add_column("")
    for name in ("steps", "last loss", "largest difference", "ms / step", "x without XLA"):
        table.add_column(name, justify="right")
    base = found["without XLA"]
    for name, result in found.items():
        seconds = result["seconds"][1:]
        table.add_row(
            name,
            str(len(result["losses"])),
            f"{result['losses'][-1]:.5f}",
            f"{difference(result['losses'], base['losses']):.1e}",
            f"{timing.spread(np.array(seconds) * 1e3):.0f}",
            f"{timing.ratio(seconds, base['seconds'][1:]):.2f}",
        )
    return table


def _worker(backend: str) -> workers.Worker:
    return workers.Worker(workers.default_threads(), {"KERAS_BACKEND": backend})


def main(argv: list[str] | None = None) -> None:
    """Trains and prints two tables."""
    parser = command_line.make_parser("backends", __doc__)
    add = parser.add_argument
    add("--steps", type=command_line.positive, default=100, help="steps on each backend")
    add(
        "--xla_steps",
        type=command_line.integer(2),
        default=50,
        help="steps with and without XLA",
    )
    add(
        "--context",
        choices=models.CONTEXTS,
        default="pure_box",
        help="filters of the network",
    )
    add(
        "--width",
        type=command_line.positive,
        default=32,
        help="channels at the highest resolution",
    )
    add("--output", type=command_line.new_file, help="a file for all losses (.json)")
    args = parser.parse_args(argv)
    from benchmarks import backend_training

    description = command_line.print_machine()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with _worker(BACKENDS[0]) as worker:
            worker.call(backend_training.prepare, folder, args.context, args.width)
            xla = worker.call(backend_training.train_with_and_without_xla, folder, args.xla_steps)
        console.print(xla_table(xla))
        found = {}
        for backend in filter(importlib.util.find_spec, BACKENDS):
            with _worker(backend) as worker:
                found[backend] = worker.call(backend_training.train, folder, args.steps)
        # Shows how much rounding alone changes the losses.
        rounding = backend_training.ROUNDING
        with _worker(BACKENDS[0]) as worker:
            found[f"{BACKENDS[0]}, weights changed by {rounding:g}"] = worker.call(
                backend_training.train, folder, args.steps, rounding
            )
        console.print(backends_table(found))
    if args.output:
        machine.write_report(args.output, description, {"xla": xla, "backends": found})


if __name__ == "__main__":
    sys.exit(command_line.run(main))
