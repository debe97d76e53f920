"""Compares the pose network with boxes to its twins with depthwise kernels: speed and cost.

    python -m benchmarks.model

Twins differ only in the filters. The speed is in images per second, for inference and for training
(one compiled Adam step with the example's loss). All networks run in every round. A cell shows the
median with quartiles, and the speed relative to the box network.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rich.table

from benchmarks import command_line, machine, timing, workers
from benchmarks.tables import console, threads_text
from examples.pose import models
from examples.pose.cli.errors import as_user_error

if TYPE_CHECKING:
    import keras

BOXES = "boxes"
NUM_JOINTS = 14


@dataclasses.dataclass(frozen=True)
class Setting:
    """Inference or training, and the batch size."""

    training: bool
    batch: int

    def __str__(self) -> str:
        return f"{'training' if self.training else 'inference'}, batch {self.batch}"


SETTINGS = (Setting(False, 1), Setting(False, 16), Setting(True, 16))


@dataclasses.dataclass(frozen=True)
class ModelResult:
    """Cost of one network, and its seconds per batch in every round."""

    parameters: int
    multiply_adds: int
    seconds: dict[Setting, list[float]]

    def images_per_second(self, setting: Setting) -> timing.Spread:
        """Returns the speed in one setting."""
        return timing.spread(setting.batch / np.array(self.seconds[setting]))


def build_networks(
    kernel_sizes: list[int], image_size: int, width: int | None, model: str
) -> dict[str, keras.Model]:
    """Builds the box network and one twin for each kernel size.

    Raises:
        ValueError: There is no such network.
    """
    contexts = {BOXES: {"context": "box"}}
    for size in kernel_sizes:
        contexts[f"depthwise {size}x{size}"] = {"context": "depthwise", "kernel_size": size}
    return {
        name: models.inference_model(
            models.build(
                model, num_joints=NUM_JOINTS, image_size=image_size, width=width, **context
            )
        )
        for name, context in contexts.items()
    }


def measure(
    kernel_sizes: list[int],
    image_size: int,
    width: int | None,
    rounds: int,
    settings: tuple[Setting, ...] = SETTINGS,
    model: str = models.DEFAULT,
) -> dict[str, ModelResult]:
    """Times the box network and one twin for each kernel size. Runs in a worker."""
    from examples.pose.evaluation import multiply_adds

    networks = build_networks(kernel_sizes, image_size, width, model)
    calls = {
        (name, setting): _call(network, setting, image_size)
        for setting in settings
        for name, network in networks.items()
    }
    times = timing.interleaved(calls, rounds, "pose networks")
    return {
        name: ModelResult(
            network.count_params(),
            multiply_adds.multiply_adds(network),
            {setting: times[name, setting] for setting in settings},
        )
        for name, network in networks.items()
    }


def _call(network: keras.Model, setting: Setting, image_size: int) -> Callable[[], object]:
    import keras
    import tensorflow as tf

    from examples.pose.models import heatmaps

    rng = np.random.default_rng(0)
    shape = (setting.batch, image_size, image_size, 3)
    images = tf.constant(rng.uniform(0, 255, shape).astype(np.float32))
    if not setting.training:
        predict = tf.function(lambda x: network(x, training=False)).get_concrete_function(images)
        return lambda: predict(images)
    places = rng.uniform(0, image_size, (setting.batch, NUM_JOINTS, 2))
    visible = np.ones((setting.batch, NUM_JOINTS, 1))
    joints = tf.constant(np.concatenate([places, visible], -1).astype(np.float32))
    network.compile(keras.optimizers.Adam(1e-4), loss=heatmaps.HeatmapCrossEntropy())
    return lambda: network.train_on_batch(images, joints)


def table_of(results: dict[str, ModelResult], threads: int) -> rich.table.Table:
    """Returns a table with one row per network."""
    table = rich.table.Table(title=f"pose networks, images per second, {threads_text(threads)}")
    table.add_column("context by")
    settings = next(iter(results.values())).seconds
    for name in ("parameters", "multiply-adds", *map(str, settings)):
        table.add_column(name, justify="right")
    for name, result in results.items():
        cells = [f"{result.parameters:,}", f"{result.multiply_adds / 1e6:.1f} million"]
        for setting, seconds in result.seconds.items():
            speed = timing.ratio(results[BOXES].seconds[setting], seconds).median
            cells.append(f"{result.images_per_second(setting):,.1f}, {speed:.2f}x")
        table.add_row(name, *cells)
    return table


def write_json(
    path: Path, description: dict[str, str], results: dict[str, ModelResult], threads: int
) -> None:
    """Writes all results and all samples in seconds."""
    content = {
        "threads": threads,
        "models": {
            name: {
                "parameters": result.parameters,
                "multiply_adds": result.multiply_adds,
                "seconds": {str(setting): s for setting, s in result.seconds.items()},
            }
            for name, result in results.items()
        },
    }
    machine.write_report(path, description, content)


def main(argv: list[str] | None = None) -> None:
    """Measures in a new process and prints the table."""
    parser = command_line.make_parser("model", __doc__)
    add = parser.add_argument
    add("--rounds", type=command_line.positive, default=9, help="rounds over all networks")
    add(
        "--threads",
        type=command_line.positive,
        default=workers.default_threads(),
        help="number of threads",
    )
    add(
        "--kernel_sizes",
        type=command_line.positive,
        nargs="+",
        default=[3, 7, 15],
        help="kernel sizes of the twins",
    )
    add("--image_size", type=command_line.positive, default=96, help="pixels")
    add("--model", default=models.DEFAULT, choices=models.NAMES, help="which network")
    add(
        "--width",
        type=command_line.positive,
        help="smallest number of channels (the network's own)",
    )
    add("--output", type=command_line.new_file, help="a file for all samples (.json)")
    args = parser.parse_args(argv)
    with as_user_error(ValueError):
        build_networks(args.kernel_sizes, args.image_size, args.width, args.model)
    description = command_line.print_machine()
    console.print(f"{args.rounds} rounds, {args.model}, images of {args.image_size} pixels")
    results = workers.in_fresh_process(
        args.threads,
        measure,
        args.kernel_sizes,
        args.image_size,
        args.width,
        args.rounds,
        model=args.model,
    )
    console.print(table_of(results, args.threads))
    if args.output:
        write_json(args.output, description, results, args.threads)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
