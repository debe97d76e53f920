"""Measures how well a network finds joints: PCK, PCKh and COCO's own numbers."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from examples.pose import datasets
from examples.pose.cli import progress
from examples.pose.cli.errors import as_user_error
from examples.pose.datasets import in_memory, joint_mapping
from examples.pose.datasets.in_memory import Photographs
from examples.pose.datasets.skeletons import Skeleton
from examples.pose.evaluation import coco_evaluation, metrics, plots
from examples.pose.files.atomic_write import atomic_write
from examples.pose.images import geometry
from examples.pose.inference import DECODING, FLIP_TEST, backends
from examples.pose.models import heatmaps

BATCH_SIZE = 16  # Affects the speed only.
# Joints of MPII Human Pose that its official mean leaves out.
UNCOUNTED_BY_PCKH = ("pelvis", "thorax")


def predict_people(
    model: keras.Model,
    photographs: Photographs,
    skeleton: Skeleton,
    flip_test: bool = FLIP_TEST,
    decoding: str = DECODING,
) -> tuple[np.ndarray, np.ndarray]:
    """Predicts the joints of all people of a data set.

    Args:
        model: Maps images to heatmap logits.
        photographs: The photographs, letterboxed to the model's image size.
        skeleton: The joints.
        flip_test: Whether to average over each photograph and its mirror image.
        decoding: How joints are read from the heatmaps, see `heatmaps.decode`.

    Returns:
        joints: float32 `[n, J, 2]`, in pixels of the original photographs.
        scores: float32 `[n, J]`.
    """
    predict = backends.compiled(model)
    flip_order = skeleton.flip_order if flip_test else None
    parts = []
    starts = range(0, len(photographs), BATCH_SIZE)
    for start in progress.track(starts, "predicting, batches"):
        images = photographs.images[start : start + BATCH_SIZE].astype(np.float32)
        logits = heatmaps.predict_heatmaps(predict, images, flip_order)
        parts.append(heatmaps.decode(logits, decoding))
    joints, scores = (tf.concat(part, axis=0) for part in zip(*parts, strict=True))
    return _to_original(photographs, joints), scores.numpy()


def _to_original(photographs: Photographs, joints) -> np.ndarray:
    """Maps joints `[n, J, 2]` from pixels of the squares to pixels of the original photographs."""
    to_original = geometry.invert_affine(tf.constant(photographs.affines))
    return geometry.transform_points(to_original, tf.convert_to_tensor(joints)).numpy()


def evaluate_joints(
    model: keras.Model,
    photographs: Photographs,
    skeleton: Skeleton,
    flip_test: bool = FLIP_TEST,
    decoding: str = DECODING,
    coco: coco_evaluation.CocoAP | None = None,
) -> dict[str, Any]:
    """Measures a model in pixels of the original photographs, by all metrics that the labels allow.

    Always PCK@0.2. PCKh@0.5 if the data set has head boxes, over the people who are well apart from
    others, as in the official evaluation of MPII Human Pose. COCO's ten numbers if the data set has
    COCO's joints and features.

    Args:
        model: Maps images to heatmap logits.
        photographs: The photographs, letterboxed to the model's image size.
        skeleton: The joints.
        flip_test: Whether to average over each photograph and its mirror image.
        decoding: How joints are read from the heatmaps, see `heatmaps.decode`.
        coco: Collects the people, for callers that need more than the numbers.

    Returns:
        `metrics.summary` of PCK and, if measured, PCKh, and `coco`, the ten numbers.
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


def read_test_photographs(
    name: str,
    image_size: int,
    data_dir: str | None,
    prepared_dir: str | None,
    skeleton: Skeleton | None = None,
    skip_broken: bool = False,
) -> tuple[Photographs, Skeleton]:
    """Reads the split of a data set to measure on, letterboxed to the model's image size.

    The joints are mapped to those of `skeleton`; None stands for the data set's own.

    Raises:
        UserError: The data set is unknown, missing or broken, or has none of the joints.
    """
    with as_user_error(ValueError):
        split = datasets.evaluation_split(name)
        dataset, own = datasets.load(name, split, data_dir, prepared_dir, skip_broken)
        dataset = joint_mapping.with_joints(dataset, own, skeleton or own)
    photographs = in_memory.read_photographs(dataset, image_size, f"reading {name} {split}")
    return photographs, skeleton or own


def print_results(result: Mapping[str, Any], title: str) -> None:
    """Prints a table for each metric in a result of `evaluate_joints`."""
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
        stem: Beginning of the file names.
        result: A result of `evaluate_joints`.
        coco: The people that it collected, if any.
    """
    for name in ("pck", "pckh"):
        if name in result:
            plots.write(plots.draw_curve(result, name), pathlib.Path(f"{stem}-{name}-curve.png"))
            plots.write(plots.draw_joints(result, name), pathlib.Path(f"{stem}-{name}-joints.png"))
    if coco.results:
        with atomic_write(pathlib.Path(f"{stem}-coco-results.json")) as temporary:
            temporary.write_text(json.dumps(coco.results), encoding="utf-8")
