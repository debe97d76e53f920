"""Measures a trained pose model: joints found, overall and per joint, its size, cost and speed.

    python -m examples.pose.evaluate --run runs/demo

evaluates on the test split of the data set the run was trained for, and writes what it prints as
`evaluation-DATASET.json` into the run folder, with pictures of the curve and of the joints. Every
data set is measured by PCK@0.2; those that tell the size of heads (MPII Human Pose) by PCKh@0.5 as
well, and those that tell what it needs (COCO) by COCO's own evaluation, with the predictions in
COCO's format as `evaluation-DATASET-coco-results.json`.
"""

import argparse
import json
import pathlib
import statistics
import sys
import time
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import rich.console
import rich.table
import tensorflow as tf

from examples.pose import (
    coco_evaluation,
    command_line,
    datasets,
    heatmaps,
    inference,
    input_pipeline,
    interruption,
    metrics,
    model_cost,
    plots,
)
from examples.pose import predictor as predictors
from examples.pose.datasets import Skeleton
from examples.pose.errors import as_user_error
from examples.pose.input_pipeline import Photographs
from examples.pose.run_folder import RunFolder, whole_file, write_json

BATCH_SIZE = 16  # Where no gradient is taken the batch size decides about speed only.
TIMED_BATCH_SIZES = (1, 16)
TIMED_SECONDS = 4.0
# Joints of MPII Human Pose that its official mean leaves out.
UNCOUNTED_BY_PCKH = ("pelvis", "thorax")


def predict_people(
    model: keras.Model,
    photographs: Photographs,
    skeleton: Skeleton,
    flip_test: bool = predictors.FLIP_TEST,
    decoding: str = predictors.DECODING,
) -> tuple[np.ndarray, np.ndarray]:
    """Predicts the joints of everybody in a data set.

    Args:
        model: Maps images to heatmap logits.
        photographs: What to predict, letterboxed to the model's image size.
        skeleton: The joints.
        flip_test: Whether to average over each photograph and its mirror image.
        decoding: How joints are read from the heatmaps, see `heatmaps.decode`.

    Returns:
        joints: float32 `[n, J, 2]`, in pixels of the original photographs.
        scores: float32 `[n, J]`.
    """
    predict = inference.compiled(model)
    flip_order = skeleton.flip_order if flip_test else None
    parts = []
    for start in range(0, len(photographs), BATCH_SIZE):
        images = photographs.images[start : start + BATCH_SIZE].astype(np.float32)
        logits = heatmaps.predict_heatmaps(predict, images, flip_order)
        parts.append(heatmaps.decode(logits, decoding))
    joints, scores = (tf.concat(part, axis=0) for part in zip(*parts, strict=True))
    return _to_original(photographs, joints), scores.numpy()


def _to_original(photographs: Photographs, joints) -> np.ndarray:
    """Maps joints `[n, J, 2]` from pixels of the squares to the original photographs'."""
    to_original = input_pipeline.invert_affine(tf.constant(photographs.affines))
    return input_pipeline.transform_points(to_original, tf.convert_to_tensor(joints)).numpy()


def evaluate_joints(
    model: keras.Model,
    photographs: Photographs,
    skeleton: Skeleton,
    flip_test: bool = predictors.FLIP_TEST,
    decoding: str = predictors.DECODING,
    coco: coco_evaluation.CocoAP | None = None,
) -> dict[str, Any]:
    """Measures, in pixels of the original photographs, what the data set has the labels for.

    That is PCK@0.2; PCKh@0.5 where the size of heads is known, of the people that are well apart
    from others, as the official evaluation of MPII Human Pose does; and COCO's ten numbers.

    Args:
        model: Maps images to heatmap logits.
        photographs: What to measure on, letterboxed to the model's image size.
        skeleton: The joints.
        flip_test: Whether to average over each photograph and its mirror image.
        decoding: How joints are read from the heatmaps, see `heatmaps.decode`.
        coco: Collects the people, for a caller who wants more of them than the numbers.

    Returns:
        `examples.pose.metrics.summary` of PCK and, if measured, PCKh, and `coco`, the ten numbers.
    """
    predicted, scores = predict_people(model, photographs, skeleton, flip_test, decoding)
    true, labelled = _to_original(photographs, photographs.joints), photographs.labelled
    pck = metrics.PCK(skeleton.num_joints, skeleton.pck_reference)
    pck.update_joints(predicted, true, labelled)
    result = metrics.summary(pck, skeleton.joint_names)
    person = photographs.person
    if "head_box" in person:
        middle = [j for j, name in enumerate(skeleton.joint_names) if name in UNCOUNTED_BY_PCKH]
        pckh = metrics.PCKh(skeleton.num_joints, excluded=middle)
        apart = person["is_single"][:, None] if "is_single" in person else True
        sizes = metrics.head_sizes(person["head_box"])
        pckh.update_joints(predicted, true, labelled & apart, sizes)
        result |= metrics.summary(pckh, skeleton.joint_names)
    if coco_evaluation.applies(skeleton, person):
        coco = coco or coco_evaluation.CocoAP()
        coco.update_people(true, photographs.visibility, person, predicted, scores)
        result["coco"] = coco.numbers()
    return result


def seconds_per_image(model: keras.Model, image_size: int, batch_size: int) -> float:
    """The median time the network takes for a batch, divided by the images in it.

    Decoding and the flip test are not included.
    """
    images = tf.random.stateless_uniform((batch_size, image_size, image_size, 3), (0, 0), 0, 255)
    run = inference.compiled(model)
    for _ in range(3):
        run(images)
    times = []
    end = time.perf_counter() + TIMED_SECONDS
    while len(times) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        np.asarray(run(images))
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
    name: str,
    image_size: int,
    data_dir: str | None,
    prepared_dir: str | None,
    skeleton: Skeleton | None = None,
    skip_broken: bool = False,
) -> tuple[Photographs, Skeleton]:
    """Reads the split of a data set to measure on, letterboxed to what a model sees.

    With a `skeleton` its joints are those that are wanted, in place of the data set's own.

    Raises:
        UserError: The data set is unknown, missing or broken, or has none of the joints.
    """
    with as_user_error(ValueError):
        split = datasets.evaluation_split(name)
        dataset, own = datasets.load(name, split, data_dir, prepared_dir, skip_broken)
        dataset = datasets.with_joints(dataset, own, skeleton or own)
    photographs = input_pipeline.read_photographs(dataset, image_size, f"reading {name} {split}")
    return photographs, skeleton or own


def print_results(result: Mapping[str, Any], title: str) -> None:
    """Prints a table for each of the metrics that `evaluate_joints` has measured."""
    for name in ("pck", "pckh"):
        if name in result:
            metrics.print_table(result, title, name)
    if "coco" in result:
        coco_evaluation.print_table(result["coco"], f"{title}, COCO evaluation, %")


def write_results(
    stem: pathlib.Path, result: Mapping[str, Any], coco: coco_evaluation.CocoAP
) -> None:
    """Writes the pictures of a measurement and, for COCO, its results file.

    Args:
        stem: What the files' names begin with.
        result: What `evaluate_joints` returned.
        coco: The people it has collected, if any.
    """
    for name in ("pck", "pckh"):
        if name in result:
            plots.write(plots.draw_curve(result, name), pathlib.Path(f"{stem}-{name}-curve.png"))
            plots.write(plots.draw_joints(result, name), pathlib.Path(f"{stem}-{name}-joints.png"))
    if coco.results:
        with whole_file(pathlib.Path(f"{stem}-coco-results.json")) as temporary:
            temporary.write_text(json.dumps(coco.results), encoding="utf-8")


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
    parser = command_line.Parser(
        prog="python -m examples.pose.evaluate",
        description="Measures a trained pose model on a test split.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--run", required=True, type=command_line.new_folder, help="folder that train wrote"
    )
    parser.add_argument(
        "--dataset",
        choices=datasets.NAMES,
        help="data set to test on, if not the (first) one of the run",
        default=None,
    )
    command_line.add_data_arguments(parser)
    predictors.add_settings_arguments(parser)
    return parser


def main(argv: list[str] | None = None) -> None:
    """Evaluates as the command line says."""
    arguments = make_parser().parse_args(argv)
    with interruption.explain_stop(lambda: "Nothing was written; the same command starts again."):
        _evaluate(arguments)


def _evaluate(arguments: argparse.Namespace) -> None:
    run = RunFolder(arguments.run)
    config = run.config
    name = arguments.dataset or run.dataset
    model = run.load_model()
    photographs, skeleton = read_test_photographs(
        name,
        config["image_size"],
        *command_line.data_places(arguments, config),
        Skeleton.from_metadata(config["skeleton"]),
        arguments.skip_broken,
    )
    how = predictors.settings_of(arguments)
    coco = coco_evaluation.CocoAP()
    result = evaluate_joints(model, photographs, skeleton, **how, coco=coco)
    cost = evaluate_cost(model, config["image_size"])
    split = datasets.evaluation_split(name)
    print_results(result, f"{run.path}, {config.get('model', 'unknown')} model, on {name} {split}")
    print_cost(cost)
    stem = run.path / f"evaluation-{name.replace('/', '-')}"
    write_results(stem, result, coco)
    path = pathlib.Path(f"{stem}.json")
    write_json(path, {"dataset": name, "split": split, **how, **result, **cost})
    print(f"Written to {path}, with pictures beside it")


if __name__ == "__main__":
    sys.exit(command_line.run(main))
