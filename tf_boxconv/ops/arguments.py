"""Checks of the arguments that the operators share, in the words a caller needs."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

NORMALIZATIONS = ("area", "valid", None)
IMPLEMENTATIONS = ("native", "portable")
DATA_FORMATS = ("channels_last", "channels_first")
FLOAT_TYPES = (tf.float16, tf.bfloat16, tf.float32, tf.float64)


def standardize_strides(strides: int | Sequence[int]) -> tuple[int, int]:
    """Returns `(stride_y, stride_x)` from an integer or a pair of integers, all at least 1."""
    pair = (strides, strides) if isinstance(strides, int) else strides
    try:
        pair = tuple(int(s) if float(s).is_integer() else 0 for s in pair)
    except (TypeError, ValueError):
        pair = ()
    if len(pair) != 2 or min(pair) < 1:
        raise ValueError(
            "`strides` must be a positive integer or a pair of them (stride_y, stride_x). "
            f"Received: strides={strides!r}"
        )
    return pair


def standardize_normalization(normalization: str | None) -> str | None:
    """Returns `normalization` if it is one of `"area"`, `"valid"` and `None`."""
    if normalization not in NORMALIZATIONS:
        raise ValueError(
            '`normalization` must be "area", "valid" or None. '
            f"Received: normalization={normalization!r}"
        )
    return normalization


def standardize_implementation(implementation: str) -> str:
    """Returns `implementation` if it is `"native"` or `"portable"`."""
    if implementation not in IMPLEMENTATIONS:
        raise ValueError(
            '`implementation` must be "native" (the compiled op) or "portable" (stock ops only). '
            f"Received: implementation={implementation!r}"
        )
    return implementation


def standardize_data_format(data_format: str | None) -> str:
    """Returns the Keras data format; `None` means `keras.config.image_data_format()`."""
    if data_format is None:
        return keras.config.image_data_format()
    if data_format not in DATA_FORMATS:
        raise ValueError(
            '`data_format` must be "channels_last" or "channels_first". '
            f"Received: data_format={data_format!r}"
        )
    return data_format


def convert_images(x, name: str = "x") -> tf.Tensor:
    """Converts `x` to a floating tensor of rank 4 or raises an error that names it."""
    x = tf.convert_to_tensor(x)
    if x.dtype not in FLOAT_TYPES:
        raise TypeError(
            f"`{name}` must be float16, bfloat16, float32 or float64. "
            f"Received: {name}.dtype={x.dtype.name}; convert it with tf.cast first."
        )
    if x.shape.rank is not None and x.shape.rank != 4:
        raise ValueError(
            f"`{name}` must have rank 4, [N, H, W, C] or [N, C, H, W]. "
            f"Received: {name}.shape={tuple(x.shape)}"
        )
    return x


def convert_boxes(boxes, x: tf.Tensor, data_format: str) -> tf.Tensor:
    """Converts `boxes` to `[C, M, 4]` in the dtype that goes with `x` and checks it against `x`."""
    dtype = tf.float64 if x.dtype == tf.float64 else tf.float32
    if not tf.is_tensor(boxes):
        boxes = tf.convert_to_tensor(boxes, dtype=dtype)
    elif boxes.dtype == tf.float32 and dtype == tf.float64:
        boxes = tf.cast(boxes, dtype)
    elif boxes.dtype != dtype:
        raise TypeError(
            f"`boxes` must be {dtype.name} when `x` is {x.dtype.name} (half types cannot hold a "
            f"coordinate). Received: boxes.dtype={boxes.dtype.name}"
        )
    boxes = tf.convert_to_tensor(boxes)
    shape = boxes.shape
    if shape.rank is not None and (shape.rank != 3 or shape[2] not in (4, None)):
        raise ValueError(
            "`boxes` must have shape [C, M, 4]: for each of C input channels M boxes "
            f"(y_min, x_min, y_max, x_max) in pixels. Received: boxes.shape={tuple(shape)}"
        )
    if shape.rank is None or x.shape.rank is None:
        return boxes
    channels = x.shape[-1 if data_format == "channels_last" else 1]
    if channels is not None and shape[0] is not None and channels != shape[0]:
        raise ValueError(
            f"`boxes` must have one row per channel of `x`, {channels} with "
            f"data_format={data_format!r}. Received: boxes.shape={tuple(shape)}, "
            f"x.shape={tuple(x.shape)}"
        )
    return boxes
