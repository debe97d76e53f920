"""Finds the poses of several people in a picture, each in its box."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from examples.pose.images import cropping, drawing
from examples.pose.inference.person_boxes import Box


def predict(predictor, image: np.ndarray, boxes: Sequence[Box]) -> tuple[np.ndarray, np.ndarray]:
    """Finds a pose in each box. The picture is cropped to it as in training.

    Args:
        predictor: See `examples.pose.inference.predictor`.
        image: uint8 `[height, width, 3]`.
        boxes: The boxes.

    Returns:
        joints: float32 `[people, joints, 2]`, in pixels of `image`.
        scores: float32 `[people, joints]`.

    Raises:
        BoxError: A box does not overlap the picture.
    """
    num_joints = predictor.skeleton.num_joints
    joints = np.zeros((len(boxes), num_joints, 2), np.float32)
    scores = np.zeros((len(boxes), num_joints), np.float32)
    for index, box in enumerate(boxes):
        box.check_overlap(image.shape[1], image.shape[0])
        crop, origin = cropping.crop_to_box(image, box.bbox)
        found, scores[index] = predictor.predict(crop)
        joints[index] = found + origin
    return joints, scores


def draw(
    image: np.ndarray,
    boxes: Sequence[Box],
    joints: np.ndarray,
    scores: np.ndarray,
    skeleton,
    min_score: float,
    min_size: int | None = None,
) -> np.ndarray:
    """Draws the poses on a copy of the picture, lines as thick as suits the size of each box.

    Args:
        image: uint8 `[height, width, 3]`.
        boxes: The boxes.
        joints: `[people, joints, 2]`, in pixels of `image`.
        scores: `[people, joints]`.
        skeleton: The joints.
        min_score: Joints with a lower score are drawn as uncertain.
        min_size: See `drawing.draw_poses`.
    """
    visibility = drawing.visibility_of_scores(scores, min_score)
    sizes = [(box.bbox[2] * box.bbox[3]) ** 0.5 for box in boxes]
    return drawing.draw_poses(image, joints, visibility, skeleton, sizes, min_size=min_size)


def results(
    file_name: str, boxes: Sequence[Box], joints: np.ndarray, scores: np.ndarray
) -> list[dict[str, Any]]:
    """Returns the poses in COCO's results format, with the name of the file in each.

    The third number of a keypoint is its score. The score of a person is the mean of these, times
    the score of the box.
    """
    return [
        {
            "image_id": box.image_id,
            "category_id": box.category_id,
            "keypoints": np.column_stack([places, certainty]).ravel().tolist(),
            "score": box.score * float(np.mean(certainty)),
            "file_name": Path(file_name).name,
        }
        for box, places, certainty in zip(boxes, joints, scores, strict=True)
    ]
