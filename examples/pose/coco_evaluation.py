"""COCO's keypoint evaluation, by object keypoint similarity (OKS), of one pose for each person.

The numbers come from `pycocotools`, the official evaluation. As every pose is predicted in a known
person's box, they are those of a detector that misses nobody and sees nobody who is not there: they
compare with each other, and with "ground truth box" figures, not with those of detections.
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

from examples.pose.datasets import COCO_SKELETON, Skeleton

# The numbers in the order in which `COCOeval` has them, and what its tables call them.
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
_PERSON = 1  # The category.
# What a data set must say of a person.
NEEDED = ("origin", "box", "area", "is_crowd", "image_id", "person_id")


def applies(skeleton: Skeleton, person: Mapping[str, Any]) -> bool:
    """Whether a data set has COCO's joints and says of its people what COCO's evaluation needs."""
    return skeleton.joint_names == COCO_SKELETON.joint_names and set(NEEDED) <= set(person)


class CocoAP(keras.metrics.Metric):
    """OKS AP and AR of all the people seen since the last reset.

    It keeps every person until the end, so it runs outside of graphs only.

    `update_people` takes people with their predictions, `result` is AP, from 0 to 1 or NaN without
    people, and `numbers` all ten.
    """

    def __init__(self, name: str = "coco_ap", **kwargs):
        super().__init__(name=name, **kwargs)
        self.reset_state()

    def reset_state(self):
        """Forgets all people."""
        self.labels: list[dict[str, Any]] = []
        self.results: list[dict[str, Any]] = []

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds people: `y_true` and `y_pred` are the dicts of arguments of `update_people`."""
        self.update_people(**y_true, **y_pred)

    def update_people(self, joints, visibility, person, predicted, scores) -> None:
        """Adds people.

        Args:
            joints: `[N, 17, 2]`, the labelled joints in pixels of the people's own images.
            visibility: `[N, 17]`: 0 not labelled, 1 hidden, 2 visible.
            person: dict of arrays `[N, ...]`, the features `NEEDED` of `pose_features`.
            predicted: `[N, 17, 2]`, the predicted joints, in the same pixels.
            scores: `[N, 17]`, their scores.
        """
        for i in range(len(visibility)):
            origin = np.asarray(person["origin"][i], np.float64)
            labelled = np.asarray(visibility[i])[:, None] > 0
            true = np.where(labelled, joints[i] + origin, 0.0)
            x_min, y_min, x_max, y_max = np.asarray(person["box"][i], np.float64)
            ids = {"image_id": int(person["image_id"][i]), "category_id": _PERSON}
            self.labels.append(
                {
                    **ids,
                    "id": int(person["person_id"][i]),
                    "keypoints": _keypoints(true, visibility[i]),
                    "num_keypoints": int(np.count_nonzero(visibility[i])),
                    "bbox": [*map(float, origin + (x_min, y_min)), x_max - x_min, y_max - y_min],
                    "area": float(person["area"][i]),
                    "iscrowd": int(person["is_crowd"][i]),
                }
            )
            self.results.append(
                {
                    **ids,
                    "keypoints": _keypoints(predicted[i] + origin, scores[i]),
                    "score": float(np.mean(scores[i])),
                }
            )

    def result(self):
        """Returns AP, from 0 to 1."""
        ap = self.numbers()["AP"]
        return tf.constant(float("nan") if ap is None else ap, self.dtype)

    def numbers(self) -> dict[str, float | None]:
        """The ten numbers, from 0 to 1; None where there is nobody to measure on."""
        if not self.results:
            return dict.fromkeys(NUMBERS)
        return evaluate(self.labels, self.results)


def _keypoints(places: np.ndarray, third: Sequence[float]) -> list[float]:
    """`[x, y, third]` of each joint in one list, as COCO's files have it."""
    return np.column_stack([places, third]).astype(np.float64).ravel().tolist()


def evaluate(
    labels: Sequence[Mapping[str, Any]], results: Sequence[Mapping[str, Any]]
) -> dict[str, float | None]:
    """Runs `COCOeval` on annotations and results in the format of COCO's files.

    Returns:
        The ten numbers, from 0 to 1; None where there is nobody to measure on.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # It prints as it goes.
        truth = COCO()
        truth.dataset = {
            "images": [{"id": number} for number in sorted({a["image_id"] for a in labels})],
            "annotations": [dict(label) for label in labels],
            "categories": [{"id": _PERSON, "name": "person"}],
        }
        truth.createIndex()
        # It writes into what it is given.
        found = truth.loadRes([dict(result) for result in results])
        evaluation = COCOeval(truth, found, "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats = map(float, evaluation.stats)
    return {name: None if value < 0 else value for name, value in zip(NUMBERS, stats, strict=True)}


def print_table(numbers: Mapping[str, float | None], title: str) -> None:
    """Prints what `evaluate` returned, in percent."""
    table = rich.table.Table(title=title, title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in numbers.items():
        table.add_row(NUMBERS[name], "-" if value is None else f"{100 * value:.1f}")
    rich.console.Console().print(table)
