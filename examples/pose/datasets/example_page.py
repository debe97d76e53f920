"""Draws examples of a pose data set, with their skeletons, on one page."""

import numpy as np
import tensorflow as tf

from examples.pose.datasets.skeletons import Skeleton
from examples.pose.images import drawing

# Smaller images are enlarged to this many pixels on their longer side before they are drawn.
_DRAWING_SIZE = 224


def describe(dataset: tf.data.Dataset, skeleton: Skeleton) -> str:
    """Returns lines with the number of people and the description of their skeleton."""
    return f"{int(dataset.cardinality())} people\n{describe_skeleton(skeleton)}"


def describe_skeleton(skeleton: Skeleton) -> str:
    """Returns lines that list the joints, the pairs that mirroring swaps, and the limbs."""
    names = skeleton.joint_names
    reference = "the longer side of the person's box"
    if skeleton.pck_reference is not None:
        reference = f"the distance {' - '.join(names[j] for j in skeleton.pck_reference)}"
    lists = {
        "joints": names,
        "swapped in a mirrored picture": [
            f"{names[a]} - {names[b]}" for a, b in skeleton.flip_pairs
        ],
        "limbs": [f"{names[a]} - {names[b]}" for a, b in skeleton.limbs],
        "PCK is relative to": [reference],
    }
    return "\n".join(f"{title}: {', '.join(entries) or 'none'}" for title, entries in lists.items())


def draw_examples(
    dataset: tf.data.Dataset,
    skeleton: Skeleton,
    count: int,
    columns: int,
    labels: bool = True,
) -> np.ndarray:
    """Draws the first examples of a data set on one page.

    Args:
        dataset: A data set that `load` returned.
        skeleton: The skeleton that `load` returned.
        count: Number of examples. A smaller data set is drawn completely.
        columns: Images in a row.
        labels: Whether to draw the skeletons.

    Returns:
        uint8 `[height, width, 3]`.
    """
    images = []
    for example in dataset.take(count).as_numpy_iterator():
        visibility = example["visibility"] if labels else np.zeros_like(example["visibility"])
        images.append(
            drawing.draw_pose(
                example["image"], example["joints"], visibility, skeleton, min_size=_DRAWING_SIZE
            )
        )
    return drawing.draw_grid(images, columns)
