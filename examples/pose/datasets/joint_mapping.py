"""Maps the examples of one data set to the joints of another, by the joints' names.

A joint has the same name in every skeleton here; MPII's "upper neck", for example, is the `neck` of
LSP. A joint that a data set lacks is unlabelled, unless it lies half way between two joints that
the data set has (`MIDPOINTS`). Neck and head top cannot be derived from nose, eyes and ears; they
stay unlabelled.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from examples.pose.datasets.skeletons import NOT_LABELLED, Skeleton

# Joints that lie about half way between two others, as MPII Human Pose labels them.
MIDPOINTS = {
    "thorax": ("left_shoulder", "right_shoulder"),
    "pelvis": ("left_hip", "right_hip"),
}


def joint_sources(source: Skeleton, target: Skeleton) -> list[tuple[int, int] | None]:
    """The source joints of each joint of `target`.

    Returns:
        For each joint, the indices of two joints of `source` whose midpoint it is (the same index
        twice if `source` has the joint itself), or None if `source` has neither.

    Raises:
        ValueError: No joint of `target` can be derived.
    """
    index = {name: i for i, name in enumerate(source.joint_names)}
    sources = []
    for name in target.joint_names:
        ends = (name, name) if name in index else MIDPOINTS.get(name, ())
        known = bool(ends) and all(end in index for end in ends)
        sources.append(tuple(index[end] for end in ends) if known else None)
    if not any(sources):
        raise ValueError(
            f"No joint of one skeleton is in the other: they have {', '.join(source.joint_names)}; "
            f"wanted are {', '.join(target.joint_names)}."
        )
    return sources


def with_joints(dataset: tf.data.Dataset, source: Skeleton, target: Skeleton) -> tf.data.Dataset:
    """Maps examples of the pose feature specification to other joints.

    Args:
        dataset: Examples with the joints of `source`.
        source: The data set's skeleton.
        target: The wanted skeleton.

    Returns:
        The same examples with the joints of `target`. A midpoint is labelled if both of its ends
        are, and hidden if one of them is.

    Raises:
        ValueError: The skeletons have no joint in common.
    """
    if source.joint_names == target.joint_names:
        return dataset
    sources = joint_sources(source, target)
    first, second = zip(*(ends or (0, 0) for ends in sources), strict=True)
    known = tf.constant([ends is not None for ends in sources])

    def convert(example: dict[str, Any]) -> dict[str, Any]:
        joints, visibility = example["joints"], example["visibility"]
        visibility = tf.minimum(tf.gather(visibility, first), tf.gather(visibility, second))
        visibility = tf.where(known, visibility, tf.cast(NOT_LABELLED, visibility.dtype))
        joints = (tf.gather(joints, first) + tf.gather(joints, second)) / 2
        labelled = visibility[:, None] != NOT_LABELLED
        return {**example, "joints": tf.where(labelled, joints, 0.0), "visibility": visibility}

    return dataset.map(convert, num_parallel_calls=tf.data.AUTOTUNE)
