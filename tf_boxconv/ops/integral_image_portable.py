"""The portable path of `integral_image`, in operations of Keras and of the framework."""

from __future__ import annotations

import keras
from keras import ops


def integral_image_portable(x, data_format: str, dtype: str):
    """Computes `integral_image` on arguments that are checked already, with sums in `dtype`."""
    rows, columns = (1, 2) if data_format == "channels_last" else (2, 3)
    border = [[0, 0] for _ in range(4)]
    border[rows] = border[columns] = [1, 0]
    return ops.pad(_cumsum(_cumsum(ops.cast(x, dtype), rows), columns), border)


def _cumsum(x, axis: int):
    # On PyTorch, `keras.ops.cumsum` adds float64 in float32 (Keras 3.15).
    return x.cumsum(axis) if keras.config.backend() == "torch" else ops.cumsum(x, axis=axis)
