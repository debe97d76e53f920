"""Compares the speed of the pose example's input pipeline with that of its networks.

    python -m benchmarks.input_pipeline

The pipeline makes batches as in training, from generated photographs in memory, and discards them.
Each network trains on one batch repeatedly. Pipeline and networks run in every round, on the same
threads. If the pipeline makes many times more images per second than a network trains on, it does
not slow the training down.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import rich.table

from benchmarks import command_line, machine, timing, workers
from benchmarks.tables import console, threads_text
from examples.pose import models
from examples.pose.cli.errors import as_user_error
from examples.pose.datasets.skeletons import LSP_SKELETON

if TYPE_CHECKING:
    import tensorflow as tf

    from examples.pose.datasets import in_memory

PIPELINE = "batches"
PHOTOGRAPHS = 256
# Batches per call. A single batch could be ready already, because the pipeline prefetches.
STEPS = 8
FOREVER = 2**40


@dataclasses.dataclass(frozen=True)
class Size:
    """Image size in pixels, and images in a batch."""

    image_size: int
    batch: int


def photographs(size: Size) -> in_memory.Photographs:
    """Returns noise with random joints, in the size in which training stores photographs."""
    from examples.pose.datasets import in_memory
    from examples.pose.training import input_pipeline

    side = round(size.image_size * input_pipeline.CANVAS_SCALE)
    rng = np.random.default_rng(0)
    return in_memory.Photographs(
        images=rng.integers(0, 256, (PHOTOGRAPHS, side, side, 3), dtype=np.uint8),
        joints=rng.uniform(0, side - 1, (PHOTOGRAPHS, 14, 2)).astype(np.float32),
        labelled=np.ones((PHOTOGRAPHS, 14), bool),
        affines=np.tile(np.float32([[1, 0, 0], [0, 1, 0]]), (PHOTOGRAPHS, 1, 1)),
    )


def measure(size: Size, names: tuple[str, ...], rounds: int) -> dict[str, list[float]]:
    """Returns the seconds to make and to train on `STEPS` batches. Runs in a worker."""
    data = photographs(size)
    calls = {PIPELINE: _pipeline_call(data, size)}
    first = next(iter(_batches(data, size)))
    for name in names:
        calls[name] = _training_call(name, size, first)
    return timing.interleaved(calls, rounds, "pipeline and networks")


def _batches(data: in_memory.Photographs, size: Size) -> tf.data.Dataset:
    from examples.pose.training import input_pipeline

    order = LSP_SKELETON.flip_order
    return input_pipeline.training_batches(
        data, order, size.image_size, size.batch, range(FOREVER), seed=0
    )


def _pipeline_call(data: in_memory.Photographs, size: Size) -> Callable[[], object]:
    # Each call makes a new iterator, so no batch is ready when the clock starts, and none is made
    # while another candidate runs.
    dataset = _batches(data, size).take(STEPS)
    return lambda: list(dataset)


def _training_call(
    name: str, size: Size, batch: tuple[tf.Tensor, tf.Tensor]
) -> Callable[[], object]:
    from examples.pose.training.distribution import make_workers
    from examples.pose.training.optimisation import Optimisation
    from examples.pose.training.trainer import Trainer

    trainer = Trainer(
        lambda: models.build(name, image_size=size.image_size),
        Optimisation(steps=FOREVER, learning_rate=1e-6),
        make_workers(),
    )
    return lambda: trainer.run(iter([batch] * STEPS), STEPS)


def table_of(results: dict[str, list[float]], size: Size, threads: int) -> rich.table.Table:
    """Returns a table with one row for the pipeline and one per network."""
    title = f"images of {size.image_size} pixels, batches of {size.batch}, {threads_text(threads)}"
    table = rich.table.Table(title=title)
    for heading in ("", "images per second", "time / time of the pipeline"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, seconds in results.items():
        speed = timing.spread(STEPS * size.batch / np.array(seconds))
        part = timing.ratio(seconds, results[PIPELINE])
        table.add_row(name, f"{speed:,.0f}", f"{part:.1f}")
    return table


def main(argv: list[str] | None = None) -> None:
    """Measures in a new process and prints the table."""
    parser = command_line.make_parser("input_pipeline", __doc__)
    add = parser.add_argument
    add("--rounds", type=command_line.positive, default=9, help="rounds over pipeline and networks")
    add(
        "--threads",
        type=command_line.positive,
        default=workers.default_threads(),
        help="number of threads",
    )
    add(
        "--models",
        nargs="+",
        choices=models.NAMES,
        default=list(models.NAMES),
        help="networks",
    )
    add("--image_size", type=command_line.positive, default=96, help="pixels")
    add("--batch_size", type=command_line.positive, default=16, help="images in a batch")
    add("--output", type=command_line.new_file, help="a file for all samples (.json)")
    args = parser.parse_args(argv)
    with as_user_error(ValueError):
        for name in args.models:
            models.build(name, image_size=args.image_size)
    description = command_line.print_machine()
    size = Size(args.image_size, args.batch_size)
    results = workers.in_fresh_process(args.threads, measure, size, tuple(args.models), args.rounds)
    console.print(table_of(results, size, args.threads))
    if args.output:
        content = {"threads": args.threads, **dataclasses.asdict(size), "seconds": results}
        machine.write_report(args.output, description, content)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
