"""PCK and PCKh, the percentage of joints found: overall, per joint, and by tolerance.

A joint is found if its error is below `alpha` times a reference length of the same person. In PCK
this length is the distance between two reference joints (left shoulder and right hip in LSP). If a
skeleton has no such joints, it is the longer side of the person's box, as for hands and animals in
MMPose. In PCKh it is the head size, and an error equal to the tolerance counts as found too.

Only labelled joints count, and only in people whose reference length is finite and positive. A
predicted joint that is NaN or infinite counts as not found.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import rich.console
import rich.table
import tensorflow as tf

from examples.pose.models import heatmaps

# Distance between two points of a PCK curve, as a fraction of the reference length.
CURVE_STEP = 0.01
# Head size as a fraction of the diagonal of the head's rectangle, as in the official evaluation of
# MPII Human Pose.
HEAD_SIZE = 0.6


def found_joints(
    predicted: tf.Tensor,
    true: tf.Tensor,
    labelled: tf.Tensor,
    reference: Sequence[int] | None,
    alpha: float = 0.2,
    boxes: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Tells which joints count in PCK, and which of them are found.

    Args:
        predicted: Predicted joints `[N, J, 2]`, (x, y) in the same pixels as `true`.
        true: True joints `[N, J, 2]`.
        labelled: bool `[N, J]`.
        reference: Indices of the two joints whose distance is the reference length; None for the
            longer side of a person's box.
        alpha: The tolerance as a fraction of the reference length.
        boxes: `[N, 4]`, (x_min, y_min, x_max, y_max). None: boxes around the labelled joints.

    Returns:
        found: bool `[N, J]`.
        counted: bool `[N, J]`; true for every found joint.
    """
    predicted, true, labelled = _joint_tensors(predicted, true, labelled)
    lengths = reference_lengths(true, labelled, reference, boxes)
    counted = labelled & _is_known(lengths)[:, None]
    found = tf.norm(predicted - true, axis=-1) < alpha * lengths[:, None]
    return found & counted, counted


def _joint_tensors(predicted, true, labelled) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Converts the arguments to tensors, and checks shapes and that labelled joints are finite."""
    predicted, true = (tf.cast(array, tf.float32) for array in (predicted, true))
    labelled = tf.cast(labelled, tf.bool)
    for name, shape in (("predicted", predicted.shape), ("labelled", [*labelled.shape, 2])):
        if not true.shape.is_compatible_with(shape):
            raise ValueError(
                f"`{name}` does not match `true`: their joints are {list(shape)[:-1]} and "
                f"{list(true.shape)[:-1]} (people, joints)."
            )
    _require(
        tf.reduce_all(tf.math.is_finite(true) | ~labelled[..., None]),
        "`true` must be finite where `labelled`: a labelled joint is NaN or infinite.",
    )
    # The position of an unlabelled joint is arbitrary and may be NaN.
    return predicted, tf.where(labelled[..., None], true, 0.0), labelled


def _require(condition: tf.Tensor, message: str) -> None:
    if tf.executing_eagerly():
        if not condition:
            raise ValueError(message)
    else:
        tf.debugging.Assert(condition, [message])


def _is_known(lengths: tf.Tensor) -> tf.Tensor:
    """Tells for each reference length whether it is known, that is, finite and positive."""
    return tf.math.is_finite(lengths) & (lengths > 0)


def reference_lengths(true, labelled, reference, boxes=None) -> tf.Tensor:
    """The reference lengths `[N]` of PCK, 0 if unknown. The arguments are as in `found_joints`."""
    if reference is None:
        if boxes is None:
            boxes = _boxes_around(true, labelled)
        boxes = tf.cast(boxes, tf.float32)
        return tf.reduce_max(boxes[:, 2:] - boxes[:, :2], axis=-1)
    first, second = reference
    lengths = tf.norm(true[:, first] - true[:, second], axis=-1)
    return tf.where(labelled[:, first] & labelled[:, second], lengths, 0.0)


def _boxes_around(true, labelled) -> tf.Tensor:
    """The smallest boxes `[N, 4]` that hold the labelled joints."""
    low = tf.reduce_min(tf.where(labelled[..., None], true, np.inf), axis=1)
    high = tf.reduce_max(tf.where(labelled[..., None], true, -np.inf), axis=1)
    return tf.concat([low, high], axis=-1)


def head_sizes(head_boxes: tf.Tensor) -> tf.Tensor:
    """The reference lengths `[N]` of PCKh for boxes `head_box` `[N, 4]`; 0 without a box."""
    return HEAD_SIZE * tf.norm(head_boxes[..., 2:] - head_boxes[..., :2], axis=-1)


class FoundJoints(keras.metrics.Metric):
    """Base class of metrics that count found joints for a range of tolerances.

    `result` and `per_joint` use the largest tolerance, `alpha`. All values are from 0 to 100, and
    NaN if no joint counted.

    Args:
        num_joints: Number of joints, J.
        alpha: The largest tolerance, as a fraction of the reference length.
        excluded: Indices of joints that `result`, `curve` and `auc` leave out.
    """

    def __init__(self, num_joints: int, alpha: float, excluded: Sequence[int] = (), **kwargs):
        super().__init__(**kwargs)
        if not (np.isfinite(alpha) and alpha > 0):
            raise ValueError(f"`alpha` must be positive and finite, got {alpha}.")
        _check_joints("excluded", excluded, num_joints)
        self.num_joints = num_joints
        self.alpha = alpha
        self.excluded = tuple(excluded)
        steps = max(1, round(alpha / CURVE_STEP))
        self.thresholds = np.linspace(0.0, alpha, steps + 1, dtype=np.float32)
        self.found = self.add_weight(
            shape=(steps + 1, num_joints), initializer="zeros", name="found"
        )
        self.counted = self.add_weight(shape=(num_joints,), initializer="zeros", name="counted")

    def _add(self, errors, lengths, labelled, inclusive: bool) -> None:
        """Adds the errors `[N, J]` of joints that are `labelled` `[N, J]`.

        `lengths` `[N]` are the people's reference lengths. With `inclusive`, an error that equals
        the tolerance counts as found.
        """
        known = _is_known(lengths)
        counted = labelled & known[:, None]
        tolerances = self.thresholds[:, None, None] * tf.where(known, lengths, 0.0)[:, None]
        found = (errors <= tolerances if inclusive else errors < tolerances) & counted
        self.found.assign_add(tf.reduce_sum(tf.cast(found, self.dtype), axis=1))
        self.counted.assign_add(tf.reduce_sum(tf.cast(counted, self.dtype), axis=0))

    def result(self):
        """Returns the percentage of all joints that was found within `alpha`."""
        return self.curve()[-1]

    def per_joint(self) -> tf.Tensor:
        """The percentage found of each joint, `[J]`; NaN for a joint that never counted."""
        return 100 * tf.convert_to_tensor(self.found)[-1] / tf.convert_to_tensor(self.counted)

    def curve(self) -> tf.Tensor:
        """The percentage found of all joints for each of `thresholds`, `[T]`."""
        kept = tf.constant([j not in self.excluded for j in range(self.num_joints)], self.dtype)
        found = tf.linalg.matvec(tf.convert_to_tensor(self.found), kept)
        return 100 * found / tf.reduce_sum(tf.convert_to_tensor(self.counted) * kept)

    def auc(self) -> tf.Tensor:
        """The mean of `curve` from 0 to `alpha`, by the trapezoidal rule."""
        curve = self.curve()
        return tf.reduce_mean((curve[1:] + curve[:-1]) / 2)

    def get_config(self):
        """Returns the arguments of the constructor."""
        return {
            **super().get_config(),
            "num_joints": self.num_joints,
            "alpha": self.alpha,
            "excluded": self.excluded,
        }


def _check_joints(name: str, indices: Sequence[int], num_joints: int) -> None:
    """Raises a `ValueError` if an index is not that of a joint."""
    if any(not 0 <= index < num_joints for index in indices):
        raise ValueError(
            f"`{name}` must hold indices of joints, 0 to {num_joints - 1}, got {tuple(indices)}."
        )


@keras.saving.register_keras_serializable(package="pose")
class PCK(FoundJoints):
    """PCK of all joints since the last reset, from 0 to 100; NaN if no joint counted.

    `update_state` takes heatmaps: `y_true` `[N, J, 3]` (x and y in image pixels, and 1 if labelled,
    else 0) and `y_pred`, logits `[N, H, W, J]`. `update_joints` takes joints.

    Args:
        num_joints: Number of joints, J.
        reference: Indices of the two joints whose distance is the reference length; None for the
            longer side of a person's box.
        alpha: The tolerance as a fraction of the reference length.
        excluded: Indices of joints that appear in `per_joint` only.
    """

    def __init__(
        self,
        num_joints: int,
        reference: Sequence[int] | None,
        alpha: float = 0.2,
        excluded: Sequence[int] = (),
        name: str = "pck",
        **kwargs,
    ):
        super().__init__(num_joints, alpha, excluded, name=name, **kwargs)
        if reference is not None:
            _check_joints("reference", reference, num_joints)
            if len(reference) != 2 or reference[0] == reference[1]:
                raise ValueError(
                    f"`reference` must be two different joints, got {tuple(reference)}."
                )
        self.reference = reference and tuple(reference)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds a batch of targets and heatmap logits. `sample_weight` is ignored."""
        joints, _ = heatmaps.decode(y_pred)
        self.update_joints(joints, y_true[..., :2], y_true[..., 2] > 0)

    def update_joints(self, predicted, true, labelled, boxes=None) -> None:
        """Adds people by their joints. The arguments are as in `found_joints`."""
        predicted, true, labelled = _joint_tensors(predicted, true, labelled)
        lengths = reference_lengths(true, labelled, self.reference, boxes)
        errors = tf.norm(predicted - true, axis=-1)
        self._add(errors, lengths, labelled, inclusive=False)

    def get_config(self):
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "reference": self.reference}


@keras.saving.register_keras_serializable(package="pose")
class PCKh(FoundJoints):
    """PCKh as in the official evaluation of MPII Human Pose: PCK relative to the head size.

    `update_state` takes heatmaps: `y_true` is a pair of targets `[N, J, 3]` and head sizes `[N]`,
    see `head_sizes`, and `y_pred` logits `[N, H, W, J]`. An error that equals the tolerance counts
    as found.

    Args:
        num_joints: Number of joints, J.
        alpha: The tolerance as a fraction of the head size.
        excluded: Indices of joints that appear in `per_joint` only. The official mean leaves out
            pelvis and thorax.
    """

    def __init__(
        self,
        num_joints: int,
        alpha: float = 0.5,
        excluded: Sequence[int] = (),
        name: str = "pckh",
        **kwargs,
    ):
        super().__init__(num_joints, alpha, excluded, name=name, **kwargs)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds a batch of targets, head sizes and heatmap logits. `sample_weight` is ignored."""
        targets, sizes = y_true
        joints, _ = heatmaps.decode(y_pred)
        self.update_joints(joints, targets[..., :2], targets[..., 2] > 0, sizes)

    def update_joints(self, predicted, true, labelled, sizes) -> None:
        """Adds people by their joints.

        Args:
            predicted: `[N, J, 2]`, in the same pixels as `true`.
            true: `[N, J, 2]`.
            labelled: bool `[N, J]`.
            sizes: Head sizes `[N]` in the same pixels; 0 or NaN if unknown.
        """
        predicted, true, labelled = _joint_tensors(predicted, true, labelled)
        sizes = tf.cast(sizes, tf.float32)
        if not sizes.shape.is_compatible_with(labelled.shape[:1]):
            raise ValueError(
                f"`sizes` must have shape {list(labelled.shape[:1])}, got {list(sizes.shape)}."
            )
        errors = tf.norm(predicted - true, axis=-1)
        self._add(errors, sizes, labelled, inclusive=True)


def summary(metric: FoundJoints, joint_names: Sequence[str]) -> dict[str, Any]:
    """Returns the values of a `PCK` or `PCKh` for JSON. A value is None if no joint counted."""

    def number(value):
        return None if np.isnan(value) else round(float(value), 2)

    name = metric.name
    return {
        name: number(metric.result()),
        f"{name}_per_joint": {
            joint: number(value)
            for joint, value in zip(joint_names, metric.per_joint(), strict=True)
        },
        f"{name}_auc": number(metric.auc()),
        f"{name}_curve": {
            "thresholds": [round(float(t), 6) for t in metric.thresholds],
            name: [number(value) for value in metric.curve().numpy()],
        },
        f"{name}_joints_counted": int(tf.reduce_sum(metric.counted)),
    }


def heading(name: str) -> str:
    """The title of a metric in tables and pictures."""
    return {"pck": "PCK@0.2", "pckh": "PCKh@0.5"}[name]


def print_table(result: Mapping[str, Any], title: str, name: str = "pck") -> None:
    """Prints a `summary` as a table, with a joint's left and right sides on one line.

    Args:
        result: A dict with the entries of `summary`.
        title: The line above the table.
        name: Name of the metric, `"pck"` or `"pckh"`.
    """

    def cell(value):
        return "-" if value is None else f"{value:.1f}"

    table = rich.table.Table(title=title, title_justify="left")
    table.add_column(heading(name))
    for side in ("left", "right", "both"):
        table.add_column(side, justify="right")
    joints = dict(result[f"{name}_per_joint"])
    while joints:
        joint, value = joints.popitem()
        side, _, part = joint.partition("_")
        opposite = {"left": "right", "right": "left"}.get(side)
        if opposite is None or f"{opposite}_{part}" not in joints:
            table.add_row(joint.replace("_", " "), "", "", cell(value))
            continue
        sides = {side: value, opposite: joints.pop(f"{opposite}_{part}")}
        known = [v for v in sides.values() if v is not None]
        mean = sum(known) / len(known) if known else None
        table.add_row(part, cell(sides["left"]), cell(sides["right"]), cell(mean))
    table.add_section()
    table.add_row("all joints", "", "", cell(result[name]), style="bold")
    if f"{name}_auc" in result:  # Results of older versions lack it.
        table.add_row("area under the curve", "", "", cell(result[f"{name}_auc"]))
    rich.console.Console(markup=False).print(table)
