"""OpenCV's box filters. They take one image with a limited number of channels at a time."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np

# OpenCV 4 accepts 512 channels, OpenCV 5 accepts 128.
MAX_CHANNELS = 128


def available() -> bool:
    """Whether OpenCV is installed."""
    return importlib.util.find_spec("cv2") is not None


def arrays_of(images: np.ndarray) -> list[np.ndarray]:
    """Splits images into contiguous HWC arrays of up to MAX_CHANNELS channels, image by image."""
    groups = range(0, images.shape[-1], MAX_CHANNELS)
    return [
        np.ascontiguousarray(image[..., first : first + MAX_CHANNELS])
        for image in images
        for first in groups
    ]


def images_of(arrays: list[np.ndarray], batch: int) -> np.ndarray:
    """Joins the results of a function on the arrays of `arrays_of` into one batch."""
    groups = len(arrays) // batch
    # OpenCV drops the axis of a single channel.
    arrays = [array if array.ndim == 3 else array[..., np.newaxis] for array in arrays]
    return np.stack(
        [np.concatenate(arrays[i * groups : (i + 1) * groups], axis=-1) for i in range(batch)]
    )


def box_filter(size: int) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function for means over `size` x `size` pixels, with zeros outside the image."""
    import cv2

    return lambda image: cv2.boxFilter(image, -1, (size, size), borderType=cv2.BORDER_CONSTANT)


def integral(image: np.ndarray) -> np.ndarray:
    """Returns the summed-area table in float64."""
    import cv2

    return cv2.integral(image, sdepth=cv2.CV_64F)
