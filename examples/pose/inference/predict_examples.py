"""Draws predictions on examples of a data set, beside the labelled poses."""

import numpy as np

from examples.pose.evaluation import metrics
from examples.pose.images import drawing

# Smaller examples are enlarged to this many pixels on their longer side before they are drawn.
GRID_DRAWING_SIZE = 224


def draw_examples(predictor, dataset, count: int, min_score: float) -> tuple[np.ndarray, int, int]:
    """Draws the first examples of a data set: the labelled pose beside the predicted one.

    Args:
        predictor: See `examples.pose.inference.predictor`.
        dataset: `tf.data.Dataset` of examples with `image`, `joints` and `visibility`.
        count: Number of examples.
        min_score: Joints with a lower score are drawn as uncertain.

    Returns:
        The drawings on one page, uint8 `[height, width, 3]`; the number of joints found, within the
        tolerance of PCK@0.2; and the number of joints that PCK counts.
    """
    panels, total_found, total_counted = [], 0, 0
    for example in dataset.take(count).as_numpy_iterator():
        joints, scores = predictor.predict(example["image"])
        found, counted = metrics.found_joints(
            joints[np.newaxis],
            example["joints"][np.newaxis],
            example["visibility"][np.newaxis] > 0,
            predictor.skeleton.pck_reference,
            boxes=example["person"]["box"][np.newaxis] if "person" in example else None,
        )
        found, counted = int(np.sum(found)), int(np.sum(counted))
        panels.append(
            drawing.draw_comparison(
                example["image"],
                example["joints"],
                example["visibility"],
                joints,
                scores,
                predictor.skeleton,
                min_score=min_score,
                min_size=GRID_DRAWING_SIZE,
                captions=("truth", f"prediction: {found} of {counted} found"),
            )
        )
        total_found, total_counted = total_found + found, total_counted + counted
    columns = int(np.ceil(np.sqrt(len(panels))))
    return drawing.draw_grid(panels, columns, gap=16), total_found, total_counted
