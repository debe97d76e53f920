"""Measures a trained pose model: PCK@0.2 overall and per joint, its size, its cost, its speed.

    python -m examples.pose.evaluate --run runs/demo

evaluates on the test split of the data set the run was trained for, and writes what it prints as
`evaluation-DATASET.json` into the run folder.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Mapping
from typing import Any

import keras
import rich.console
import rich.table
import tensorflow as tf

from examples.pose import command_line, datasets, heatmaps, input_pipeline, metrics, model_cost
from examples.pose.datasets import Skeleton
from examples.pose.input_pipeline import Photographs
from examples.pose.run_folder import RunFolder, write_json

BATCH_SIZE = 16  # Where no gradient is taken the batch size decides about speed only.
TIMED_BATCH_SIZES = (1, 16)
TIMED_SECONDS = 4.0


def evaluate_joints(
    model: keras.Model, photographs: Photographs, skeleton: Skeleton, flip_test: bool = True
) -> dict[str, Any]:
    """Measures PCK@0.2 in pixels of the original photographs.

    Args:
        model: Maps images to heatmap logits.
        photographs: What to measure on, letterboxed to the model's image size.
        skeleton: The joints.
        flip_test: Whether to average over each photograph and its mirror image.

    Returns:
        `examples.pose.metrics.summary` of the measurement.
    """

    @tf.function(reduce_retracing=True)
    def predict(images):
        flip_order = skeleton.flip_order if flip_test else None
        return heatmaps.decode(heatmaps.predict_heatmaps(model, images, flip_order))[0]

    pck = metrics.PCK(skeleton.num_joints, skeleton.pck_reference)
    to_original = input_pipeline.invert_affine(tf.constant(photographs.affines))
    for start in range(0, len(photographs), BATCH_SIZE):
        batch, back = photographs[start : start + BATCH_SIZE], to_original[start:][:BATCH_SIZE]
        predicted = predict(tf.cast(batch.images, tf.float32))
        pck.update_joints(
            input_pipeline.transform_points(back, predicted),
            input_pipeline.transform_points(back, tf.constant(batch.joints)),
            tf.constant(batch.labelled),
        )
    return metrics.summary(pck, skeleton.joint_names)


def seconds_per_image(model: keras.Model, image_size: int, batch_size: int) -> float:
    """The median time the network takes for a batch, divided by the images in it.

    Decoding and the flip test are not included.
    """
    images = tf.random.stateless_uniform((batch_size, image_size, image_size, 3), (0, 0), 0, 255)
    run = tf.function(lambda batch: model(batch, training=False))
    for _ in range(3):
        run(images)
    times = []
    end = time.perf_counter() + TIMED_SECONDS
    while len(times) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        run(images).numpy()
        times.append(time.perf_counter() - start)
    return statistics.median(times) / batch_size


def evaluate_cost(model: keras.Model, image_size: int) -> dict[str, Any]:
    """Parameters, multiply-adds for one image, and seconds per image at two batch sizes."""
    return {
        "parameters": model.count_params(),
        "multiply_adds": model_cost.multiply_adds(model),
        "seconds_per_image": {
            f"batch_{size}": round(seconds_per_image(model, image_size, size), 6)
            for size in TIMED_BATCH_SIZES
        },
    }


def read_test_photographs(
    name: str, image_size: int, data_dir: str | None, prepared_dir: str | None
) -> tuple[Photographs, Skeleton]:
    """Reads the test split of a data set, letterboxed to what a model sees."""
    dataset, skeleton = datasets.load(name, "test", data_dir, prepared_dir)
    return input_pipeline.read_photographs(dataset, image_size, f"reading {name} test"), skeleton


def print_cost(cost: Mapping[str, Any]) -> None:
    """Prints what `evaluate_cost` returned."""
    table = rich.table.Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("parameters", f"{cost['parameters']:,}")
    table.add_row("multiply-adds per image", f"{cost['multiply_adds']:,}")
    for name, seconds in cost["seconds_per_image"].items():
        table.add_row(f"milliseconds per image, {name.replace('_', ' ')}", f"{seconds * 1e3:.2f}")
    rich.console.Console().print(table)


def make_parser() -> argparse.ArgumentParser:
    """The command line of this module."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.pose.evaluate",
        description="Measures a trained pose model on a test split.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--run", required=True, help="folder that train wrote")
    parser.add_argument(
        "--dataset", help="data set to test on, if not the (first) one of the run", default=None
    )
    command_line.add_data_arguments(parser)
    parser.add_argument(
        "--no_flip_test", action="store_true", help="run each photograph once, not mirrored as well"
    )
    return parser


def main(argv: list[str] | None = None) -> None:
    """Evaluates as the command line says."""
    arguments = make_parser().parse_args(argv)
    run = RunFolder(arguments.run)
    config = run.config
    name = arguments.dataset or config["dataset"].split("+")[0]
    model = run.load_model()
    photographs, skeleton = read_test_photographs(
        name,
        config["image_size"],
        arguments.data_dir or config["data_dir"],
        arguments.prepared_dir or config["prepared_dir"],
    )
    if skeleton.joint_names != tuple(config["skeleton"]["joint_names"]):
        raise ValueError(f"--dataset {name} has other joints than {arguments.run} was trained for.")
    result = evaluate_joints(model, photographs, skeleton, not arguments.no_flip_test)
    cost = evaluate_cost(model, config["image_size"])
    metrics.print_table(result, f"{run.path}, {config['model']} model, on {name} test")
    print_cost(cost)
    path = run.path / f"evaluation-{name}.json"
    flip_test = not arguments.no_flip_test
    write_json(path, {"dataset": name, "flip_test": flip_test, **result, **cost})
    print(f"Written to {path}")


if __name__ == "__main__":
    sys.exit(command_line.run(main))
