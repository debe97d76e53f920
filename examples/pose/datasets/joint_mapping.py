"""Converts the examples of one data set to the joints of another, matching joints by name.

A joint has the same name in every skeleton; for example, MPII's "upper neck" is called `neck` as in
LSP. A joint that the source data set does not label becomes unlabelled, unless it lies half way
between two joints that the data set does label (`MIDPOINTS`). COCO's nose, eyes and ears do not
determine the neck or the top of the head, so those two stay unlabelled.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from examples.pose.datasets.skeletons import NOT_LABELLED, Skeleton

# Joints that are the midpoint of two others. MPII labels both as joints, at nearly these positions.
MIDPOINTS = {
    "thorax": ("left_shoulder", "right_shoulder"),
    "pelvis": ("left_hip", "right_hip"),
}


def joint_sources(source: Skeleton, target: Skeleton) -> list[tuple[int, int] | None]:
    """The joints of `source` that each joint of `target` is computed from.

    Returns:
        For each joint of `target` a pair of indices into `source`, whose midpoint it is, or None
        if it cannot be computed. For a joint that `source` has, the pair is its index twice.

    Raises:
        ValueError: No joint can be computed.
    """
    index = {name: i for i, name in enumerate(source.joint_names)}
    sources = []
    for name in target.joint_names:
        ends = (name, name) if name in index else MIDPOINTS.get(name, ())
        known = bool(ends) and all(end in index for end in ends)
        sources.append(tuple(index[end] for end in ends) if known else None)
    if not any(sources):
        raise ValueError(
            f"The skeletons have no joint in common: got {', '.join(source.joint_names)}; "
            f"wanted {', '.join(target.joint_names)}."
        )
    return sources


def with_joints(dataset: tf.data.Dataset, source: Skeleton, target: Skeleton) -> tf.data.Dataset:
    """Converts examples with the features of `pose_features` to another skeleton.

    Args:
        dataset: Examples with the joints of `source`.
        source: The skeleton of the examples.
        target: The skeleton to convert to.

    Returns:
        The same examples with the joints of `target`. A midpoint of two joints is labelled if both
        are labelled, and occluded if either is.

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
