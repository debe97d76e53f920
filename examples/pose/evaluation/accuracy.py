"""Evaluates how accurately a network finds joints: PCK, PCKh and COCO's AP and AR."""

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

BATCH_SIZE = 16  # Affects speed only.
# Joints that the official PCKh of MPII Human Pose leaves out.
UNCOUNTED_BY_PCKH = ("pelvis", "thorax")


def predict_people(
    model: keras.Model,
    photographs: Photographs,
    skeleton: Skeleton,
    flip_test: bool = FLIP_TEST,
    decoding: str = DECODING,
) -> tuple[np.ndarray, np.ndarray]:
    """Predicts the joints of all people in a data set.

    Args:
        model: A model from images to heatmap logits.
        photographs: The people, letterboxed to the model's image size.
        skeleton: The joints.
        flip_test: Whether to average over each photograph and its mirror image.
        decoding: How to read joints from heatmaps, see `heatmaps.decode`.

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
    """Maps joints `[n, J, 2]` from letterboxed pixels to pixels of the original photographs."""
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
    """Predicts the joints of all people, and measures them as `measure_joints` does.

    Args:
        model: A model from images to heatmap logits.
        photographs: The people to evaluate on, letterboxed to the model's image size.
        skeleton: The joints.
        flip_test: Whether to average over each photograph and its mirror image.
        decoding: How to read joints from heatmaps, see `heatmaps.decode`.
        coco: See `measure_joints`.
    """
    predicted, scores = predict_people(model, photographs, skeleton, flip_test, decoding)
    return measure_joints(predicted, scores, photographs, skeleton, coco)


def measure_joints(
    predicted: np.ndarray,
    scores: np.ndarray,
    photographs: Photographs,
    skeleton: Skeleton,
    coco: coco_evaluation.CocoAP | None = None,
) -> dict[str, Any]:
    """Measures predictions, in pixels of the original photographs, by all metrics that apply.

    * PCK@0.2, always.
    * PCKh@0.5, if head sizes are known. As in the official evaluation of MPII Human Pose, only
      people who are sufficiently separated from others count.
    * COCO's ten AP and AR values, if the data set has the labels for them.

    Args:
        predicted: `[n, J, 2]`, see `predict_people`.
        scores: `[n, J]`.
        photographs: The people.
        skeleton: The joints.
        coco: The metric for COCO's values; by default, a new one. Afterwards its `results` hold the
            predictions in COCO's format.

    Returns:
        The entries of `metrics.summary` for PCK and PCKh, and the ten values as the dict `coco`.
    """
    true, labelled = _to_original(photographs, photographs.joints), photographs.labelled
    pck = metrics.PCK(skeleton.num_joints, skeleton.pck_reference)
    pck.update_joints(predicted, true, labelled, photographs.person.get("box"))
    result = metrics.summary(pck, skeleton.joint_names)
    person = photographs.person
    if "head_box" in person:
        excluded = [j for j, name in enumerate(skeleton.joint_names) if name in UNCOUNTED_BY_PCKH]
        pckh = metrics.PCKh(skeleton.num_joints, excluded=excluded)
        is_single = person["is_single"][:, None] if "is_single" in person else True
        sizes = metrics.head_sizes(person["head_box"])
        pckh.update_joints(predicted, true, labelled & is_single, sizes)
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
    keypoint_files: datasets.KeypointFiles | None = None,
    skeleton: Skeleton | None = None,
    skip_broken: bool = False,
) -> tuple[Photographs, Skeleton]:
    """Reads the evaluation split of a data set, letterboxed to a model's image size.

    Args:
        name: Name of the data set.
        image_size: The model's image size in pixels.
        data_dir: Folder of official data sets, or None.
        prepared_dir: Folder of prepared records, or None for the default.
        keypoint_files: The files of the data set `keypoints`.
        skeleton: The joints to convert to; None keeps the data set's own.
        skip_broken: Whether to leave out pictures that cannot be read.

    Returns:
        The photographs and the skeleton of their joints.

    Raises:
        UserError: The data set is unknown, missing or broken, or has none of the joints.
    """
    with as_user_error(ValueError):
        split = datasets.evaluation_split(name)
        dataset, source = datasets.load(
            name, split, data_dir, prepared_dir, skip_broken, keypoint_files
        )
        target = skeleton or source
        dataset = joint_mapping.with_joints(dataset, source, target)
    photographs = in_memory.read_photographs(dataset, image_size, f"reading {name} {split}")
    return photographs, target


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
    """Writes the pictures of an evaluation and, for COCO, its results file.

    Args:
        stem: Beginning of the files' paths.
        result: The result of `evaluate_joints`.
        coco: The metric that was passed to `evaluate_joints`.
    """
    for name in ("pck", "pckh"):
        if name in result:
            plots.write(plots.draw_curve(result, name), pathlib.Path(f"{stem}-{name}-curve.png"))
            plots.write(plots.draw_joints(result, name), pathlib.Path(f"{stem}-{name}-joints.png"))
    if coco.results:
        with atomic_write(pathlib.Path(f"{stem}-coco-results.json")) as temporary:
            temporary.write_text(json.dumps(coco.results), encoding="utf-8")
