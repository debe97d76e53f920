"""Draws examples of a pose data set, with their skeletons, on one page."""

import numpy as np
import tensorflow as tf

from examples.pose.datasets.skeletons import Skeleton
from examples.pose.images import drawing

# Smaller images are enlarged to this many pixels on their longer side before they are drawn.
_DRAWING_SIZE = 224


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
