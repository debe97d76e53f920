"""Crops pictures to a person. Training data and `predict --box` are cropped alike."""

from collections.abc import Sequence

import numpy as np

# A picture is cropped to the box of a person, enlarged by this factor.
CROP_SIZE = 1.25


def crop_person(image: np.ndarray, box: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Crops a photograph to the box around a person.

    Args:
        image: `[height, width, 3]`.
        box: Edges `(x_min, y_min, x_max, y_max)` in pixels of `image`. The crop is clipped to the
            image.

    Returns:
        The crop, at least one pixel wide and high, and its `origin`, float32 `[2]`: the position
        (x, y) in `image` of its top left pixel.
    """
    height, width = image.shape[:2]
    left, top = (
        int(np.clip(np.floor(box[i]), 0, side - 1)) for i, side in ((0, width), (1, height))
    )
    right, bottom = (int(np.ceil(min(box[i], side))) for i, side in ((2, width), (3, height)))
    part = image[top : max(bottom, top + 1), left : max(right, left + 1)]
    return part, np.array([left, top], np.float32)


def crop_to_box(image: np.ndarray, box: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Crops a photograph to a person's box, enlarged by `CROP_SIZE`.

    Args:
        image: `[height, width, 3]`.
        box: `(x, y, width, height)` in pixels of `image`, as in COCO.

    Returns:
        The crop and its origin, see `crop_person`.
    """
    x, y, width, height = box
    margin_x, margin_y = (CROP_SIZE - 1) / 2 * width, (CROP_SIZE - 1) / 2 * height
    return crop_person(
        image, [x - margin_x, y - margin_y, x + width + margin_x, y + height + margin_y]
    )
