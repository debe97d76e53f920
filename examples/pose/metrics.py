"""PCK, the percentage of correct keypoints, overall and per joint.

A joint is found when its error is under `alpha` times the distance between two reference joints of
the same person (left shoulder and right hip). Only labelled joints count, and only in people whose
two reference joints are labelled, since without them there is nothing to measure by.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import rich.console
import rich.table
import tensorflow as tf

from examples.pose import heatmaps


def found_joints(
    predicted: tf.Tensor,
    true: tf.Tensor,
    labelled: tf.Tensor,
    reference: Sequence[int],
    alpha: float = 0.2,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Which joints count, and which of them are found.

    Args:
        predicted: `[N, J, 2]`, in the same pixels as `true`.
        true: `[N, J, 2]`.
        labelled: bool `[N, J]`.
        reference: The indices of the two joints whose distance sets the tolerance.
        alpha: The tolerance as a part of that distance.

    Returns:
        found: bool `[N, J]`.
        counted: bool `[N, J]`; includes every found joint.
    """
    first, second = reference
    size = tf.norm(true[:, first] - true[:, second], axis=-1)
    measurable = labelled[:, first] & labelled[:, second]
    counted = labelled & measurable[:, None]
    found = tf.norm(predicted - true, axis=-1) < alpha * size[:, None]
    return found & counted, counted


@keras.saving.register_keras_serializable(package="pose")
class PCK(keras.metrics.Metric):
    """PCK over all the joints seen since the last reset, from 0 to 100.

    `update_state` takes `y_true` `[N, J, 3]` (x and y in image pixels, and 1 where labelled, else
    0) and `y_pred`, heatmap logits `[N, H, W, J]`. `update_joints` takes joints. NaN when no joint
    counted.

    Args:
        num_joints: J.
        reference: The indices of the two joints whose distance sets the tolerance.
        alpha: The tolerance as a part of that distance.
    """

    def __init__(
        self,
        num_joints: int,
        reference: Sequence[int],
        alpha: float = 0.2,
        name: str = "pck",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        self.num_joints = num_joints
        self.reference = tuple(reference)
        self.alpha = alpha
        self.found = self.add_weight(shape=(num_joints,), initializer="zeros", name="found")
        self.counted = self.add_weight(shape=(num_joints,), initializer="zeros", name="counted")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds a batch of targets and heatmap logits; there are no sample weights here."""
        joints, _ = heatmaps.decode(y_pred)
        self.update_joints(joints, y_true[..., :2], y_true[..., 2] > 0)

    def update_joints(self, predicted, true, labelled) -> None:
        """Adds people by their joints; the arguments are those of `found_joints`."""
        found, counted = found_joints(predicted, true, labelled, self.reference, self.alpha)
        self.found.assign_add(tf.reduce_sum(tf.cast(found, self.dtype), axis=0))
        self.counted.assign_add(tf.reduce_sum(tf.cast(counted, self.dtype), axis=0))

    def result(self):
        """Returns PCK over all joints seen, from 0 to 100."""
        return 100 * tf.reduce_sum(self.found) / tf.reduce_sum(self.counted)

    def per_joint(self) -> tf.Tensor:
        """PCK of each joint, `[J]`; NaN for a joint that never counted."""
        return 100 * tf.convert_to_tensor(self.found) / tf.convert_to_tensor(self.counted)

    def get_config(self):
        """Returns the arguments of the constructor."""
        return {
            **super().get_config(),
            "num_joints": self.num_joints,
            "reference": self.reference,
            "alpha": self.alpha,
        }


def summary(pck: PCK, joint_names: Sequence[str]) -> dict[str, Any]:
    """What a `PCK` has measured, as JSON values: None stands for a joint that never counted."""

    def number(value):
        return None if tf.math.is_nan(value) else round(float(value), 2)

    return {
        "pck": number(pck.result()),
        "pck_per_joint": {
            name: number(value) for name, value in zip(joint_names, pck.per_joint(), strict=True)
        },
        "joints_counted": int(tf.reduce_sum(pck.counted)),
    }


def print_table(result: Mapping[str, Any], title: str) -> None:
    """Prints a `summary`; a joint's left and right sides share a line.

    Args:
        result: What `summary` returned.
        title: The line above the table.
    """

    def cell(value):
        return "-" if value is None else f"{value:.1f}"

    table = rich.table.Table(title=title, title_justify="left")
    table.add_column("PCK@0.2")
    for heading in ("left", "right", "both"):
        table.add_column(heading, justify="right")
    joints = dict(result["pck_per_joint"])
    while joints:
        name, value = joints.popitem()
        side, _, part = name.partition("_")
        other = {"left": "right", "right": "left"}.get(side)
        if other is None or f"{other}_{part}" not in joints:
            table.add_row(name.replace("_", " "), "", "", cell(value))
            continue
        sides = {side: value, other: joints.pop(f"{other}_{part}")}
        known = [v for v in sides.values() if v is not None]
        mean = sum(known) / len(known) if known else None
        table.add_row(part, cell(sides["left"]), cell(sides["right"]), cell(mean))
    table.add_section()
    table.add_row("all joints", "", "", cell(result["pck"]), style="bold")
    rich.console.Console().print(table)
