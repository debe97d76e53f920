"""COCO's keypoint evaluation by object keypoint similarity (OKS), with one pose for each person.

`pycocotools`, the official evaluation, computes the AP and AR values. Poses are predicted in
people's labelled boxes. Compare the values with published ones for ground truth boxes, not with
those for a detector.
"""

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import rich.console
import rich.table
import tensorflow as tf

from examples.pose.datasets.skeletons import COCO_SKELETON, Skeleton

# The ten AP and AR values in the order of `COCOeval.stats`, with their titles in tables.
NUMBERS = {
    "AP": "average precision, mean of OKS 0.50 to 0.95",
    "AP50": "average precision at OKS 0.50",
    "AP75": "average precision at OKS 0.75",
    "AP_medium": "average precision, medium people",
    "AP_large": "average precision, large people",
    "AR": "average recall, mean of OKS 0.50 to 0.95",
    "AR50": "average recall at OKS 0.50",
    "AR75": "average recall at OKS 0.75",
    "AR_medium": "average recall, medium people",
    "AR_large": "average recall, large people",
}
_PERSON = 1  # COCO's category id.
# The person features of `pose_features` that the evaluation needs.
NEEDED = ("origin", "box", "area", "is_crowd", "image_id")
# A joint that was not found is placed this far away, in multiples of the person's size. Its OKS is
# 0 there.
_REACH = 4.0


def applies(skeleton: Skeleton, person: Mapping[str, Any]) -> bool:
    """Whether a data set has COCO's joints and the person features in `NEEDED`."""
    return skeleton.joint_names == COCO_SKELETON.joint_names and set(NEEDED) <= set(person)


class CocoAP(keras.metrics.Metric):
    """OKS AP and AR of all people since the last reset.

    `update_people` adds people and their predictions. `result` returns AP (0 to 1, NaN without
    people), `numbers` all ten AP and AR values. The metric keeps all people in Python lists, so it
    cannot run inside a graph.

    * A predicted joint that is NaN or infinite counts as not found. A score that is NaN or infinite
      counts as 0.
    * As in COCO's own evaluation, crowds and people without a labelled joint are ignored, and only
      the 20 predictions with the highest scores count in each image.
    """

    def __init__(self, name: str = "coco_ap", **kwargs):
        super().__init__(name=name, **kwargs)
        self.reset_state()

    def reset_state(self):
        """Forgets all people."""
        self.labels: list[dict[str, Any]] = []
        self.results: list[dict[str, Any]] = []

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds people. `y_true` and `y_pred` are dicts of arguments of `update_people`."""
        self.update_people(**y_true, **y_pred)

    def update_people(self, joints, visibility, person, predicted, scores) -> None:
        """Adds people.

        Args:
            joints: `[N, 17, 2]`, the labelled joints in pixels of the people's own images.
            visibility: `[N, 17]`: 0 not labelled, 1 occluded, 2 visible.
            person: Dict of arrays `[N, ...]`, the features `NEEDED` of `pose_features`.
            predicted: `[N, 17, 2]`, the predicted joints, in the same pixels.
            scores: `[N, 17]`, scores of the predicted joints.

        Raises:
            ValueError: The shapes do not match, or a label is invalid (such as a labelled joint
                that is not finite, or an area that is not positive). Then nobody is added.
        """
        joints, predicted, scores = (np.asarray(a, np.float64) for a in (joints, predicted, scores))
        visibility = np.asarray(visibility)
        person = {name: np.asarray(person[name]) for name in NEEDED}
        _check(joints, visibility, person, predicted, scores)
        people = [
            _annotate(
                joints[i],
                visibility[i],
                {name: values[i] for name, values in person.items()},
                predicted[i],
                scores[i],
            )
            for i in range(len(visibility))
        ]
        for label, result in people:
            self.labels.append({**label, "id": len(self.labels) + 1})
            self.results.append(result)

    def result(self):
        """Returns AP, from 0 to 1."""
        ap = self.numbers()["AP"]
        return tf.constant(float("nan") if ap is None else ap, self.dtype)

    def numbers(self) -> dict[str, float | None]:
        """Returns the ten AP and AR values, 0 to 1, by their names in `NUMBERS`.

        A value is None if no person counts in it.
        """
        return evaluate(self.labels, self.results)


def _check(joints, visibility, person, predicted, scores) -> None:
    """Raises a `ValueError` for shapes that do not match and for invalid labels."""
    count, num_joints = len(visibility), COCO_SKELETON.num_joints
    shapes = {
        "joints": (joints, (count, num_joints, 2)),
        "visibility": (visibility, (count, num_joints)),
        "predicted": (predicted, (count, num_joints, 2)),
        "scores": (scores, (count, num_joints)),
        "origin": (person["origin"], (count, 2)),
        "box": (person["box"], (count, 4)),
        **{name: (person[name], (count,)) for name in ("area", "is_crowd", "image_id")},
    }
    for name, (array, shape) in shapes.items():
        if array.shape != shape:
            raise ValueError(f"`{name}` must have shape {shape}, got {array.shape}.")
    unlabelled = visibility == 0
    rules = {
        "joints": (np.isfinite(joints).all(-1) | unlabelled).all(-1),
        "visibility": np.isin(visibility, (0, 1, 2)).all(-1),
        "origin": np.isfinite(person["origin"]).all(-1),
        "box": np.isfinite(person["box"]).all(-1),
        "area": np.isfinite(person["area"]) & (person["area"] > 0),
        "is_crowd": np.isin(person["is_crowd"], (0, 1)),
    }
    requirements = {
        "joints": "be finite where labelled",
        "visibility": "be 0, 1 or 2",
        "area": "be positive and finite",
        "is_crowd": "be 0 or 1",
    }
    for name, valid in rules.items():
        if not valid.all():
            index = int(np.argmin(valid))
            got = {"joints": joints, "visibility": visibility, **person}[name][index].tolist()
            requirement = requirements.get(name, "be finite")
            raise ValueError(f"`{name}` of person {index} must {requirement}, got {got}.")


def _annotate(joints, visibility, person, predicted, scores) -> tuple[dict, dict]:
    """Returns a person's annotation (without `id`) and result in the format of COCO's files."""
    origin = person["origin"].astype(np.float64)
    low, high = np.reshape(person["box"].astype(np.float64), (2, 2)) + origin
    labelled = visibility > 0
    true = np.where(labelled[:, None], joints + origin, 0.0)
    ids = {"image_id": _plain_id(person["image_id"]), "category_id": _PERSON}
    label = {
        **ids,
        "keypoints": _keypoints(true, visibility),
        "num_keypoints": int(np.count_nonzero(labelled)),
        "bbox": [*low.tolist(), *(high - low).tolist()],
        "area": float(person["area"]),
        "iscrowd": int(person["is_crowd"]),
    }
    # pycocotools treats an OKS of NaN as a match, and ignores predictions of more than 1e10 square
    # pixels. Joints are therefore clipped to a few times the person's size around the person, and
    # joints that were not found are placed at this limit.
    reach = _REACH * max(*(high - low), np.sqrt(label["area"]))
    low, high = (end(np.vstack([low, high, true[labelled]]), axis=0) for end in (np.min, np.max))
    points = predicted + origin
    found = np.isfinite(points).all(axis=-1, keepdims=True)
    points = np.where(found, np.clip(points, low - reach, high + reach), low - reach)
    scores = np.where(np.isfinite(scores), scores, 0.0)
    result = {**ids, "keypoints": _keypoints(points, scores), "score": float(np.mean(scores))}
    return label, result


def _plain_id(value: np.generic) -> int | str:
    """An image id as a JSON value."""
    if isinstance(value, np.floating):
        # From 2**24 (float32) or 2**53 (float64) on, several integers round to the same float.
        if not value.is_integer() or abs(value) >= 2.0 ** (np.finfo(value.dtype).nmant + 1):
            raise ValueError(f"`image_id` must hold integers, got the float {value}.")
        return int(value)
    value = value.item()
    return value.decode() if isinstance(value, bytes) else value


def _keypoints(points: np.ndarray, third: Sequence[float]) -> list[float]:
    """The flat list of x, y and a third value (visibility or score) per joint, as COCO uses it."""
    return np.column_stack([points, third]).astype(np.float64).ravel().tolist()


def evaluate(
    labels: Sequence[Mapping[str, Any]], results: Sequence[Mapping[str, Any]]
) -> dict[str, float | None]:
    """Runs `COCOeval` on annotations and results in the format of COCO's files.

    Image ids may have any type, and annotation ids may be missing: both are renumbered from 1,
    because pycocotools treats the annotation id 0 as "no match".

    Returns:
        The ten AP and AR values, 0 to 1. A value is None if no person counts in it.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    if not labels:
        return dict.fromkeys(NUMBERS)
    image_ids = dict.fromkeys(entry["image_id"] for entry in (*labels, *results))
    image_numbers = {image_id: number for number, image_id in enumerate(image_ids, start=1)}

    def numbered(entries):
        return [
            {**entry, "id": number, "image_id": image_numbers[entry["image_id"]]}
            for number, entry in enumerate(entries, start=1)
        ]

    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints as it goes.
        truth, predictions = COCO(), COCO()
        truth.dataset = {
            "images": [{"id": number} for number in image_numbers.values()],
            "annotations": numbered(labels),
            "categories": [{"id": _PERSON, "name": "person"}],
        }
        truth.createIndex()
        if results:
            predictions = truth.loadRes(numbered(results))
        else:
            predictions.dataset = {**truth.dataset, "annotations": []}
            predictions.createIndex()
        evaluation = COCOeval(truth, predictions, "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats = map(float, evaluation.stats)
    return {name: None if value < 0 else value for name, value in zip(NUMBERS, stats, strict=True)}


def print_table(numbers: Mapping[str, float | None], title: str) -> None:
    """Prints the result of `evaluate` in percent."""
    table = rich.table.Table(title=title, title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in numbers.items():
        table.add_row(NUMBERS[name], "-" if value is None else f"{100 * value:.1f}")
    rich.console.Console(markup=False).print(table)
