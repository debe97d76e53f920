"""Checks of the arguments that the operators share, in the words a caller needs."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import ops

NORMALIZATIONS = ("area", "valid", None)
IMPLEMENTATIONS = ("native", "portable")
DATA_FORMATS = ("channels_last", "channels_first")
FLOAT_TYPES = ("float16", "bfloat16", "float32", "float64")


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


def dtype_name(x) -> str:
    """The name of a tensor's dtype, whichever framework it is of."""
    return keras.backend.standardize_dtype(x.dtype)


def convert_images(x, name: str = "x"):
    """Converts `x` to a floating tensor of rank 4 or raises an error that names it."""
    x = ops.convert_to_tensor(x)
    if dtype_name(x) not in FLOAT_TYPES:
        raise TypeError(
            f"`{name}` must be float16, bfloat16, float32 or float64. "
            f"Received: {name}.dtype={dtype_name(x)}; convert it with keras.ops.cast first."
        )
    shape = static_shape(x)
    if shape is not None and len(shape) != 4:
        raise ValueError(
            f"`{name}` must have rank 4, [N, H, W, C] or [N, C, H, W]. "
            f"Received: {name}.shape={shape}"
        )
    return x


def convert_boxes(boxes, x, data_format: str):
    """Converts `boxes` to `[C, M, 4]` in the dtype that goes with `x` and checks it against `x`."""
    dtype = "float64" if dtype_name(x) == "float64" else "float32"
    if not _is_tensor(boxes):
        boxes = ops.convert_to_tensor(boxes, dtype=dtype)
    elif dtype_name(boxes) == "float32" and dtype == "float64":
        boxes = ops.cast(boxes, dtype)
    elif dtype_name(boxes) != dtype:
        raise TypeError(
            f"`boxes` must be {dtype} when `x` is {dtype_name(x)} (half types cannot hold a "
            f"coordinate). Received: boxes.dtype={dtype_name(boxes)}"
        )
    boxes = ops.convert_to_tensor(boxes)
    shape, x_shape = static_shape(boxes), static_shape(x)
    if shape is not None and (len(shape) != 3 or shape[2] not in (4, None)):
        raise ValueError(
            "`boxes` must have shape [C, M, 4]: for each of C input channels M boxes "
            f"(y_min, x_min, y_max, x_max) in pixels. Received: boxes.shape={shape}"
        )
    if shape is None or x_shape is None:
        return boxes
    channels = x_shape[-1 if data_format == "channels_last" else 1]
    if channels is not None and shape[0] is not None and channels != shape[0]:
        raise ValueError(
            f"`boxes` must have one row per channel of `x`, {channels} with "
            f"data_format={data_format!r}. Received: boxes.shape={shape}, x.shape={x_shape}"
        )
    return boxes


def static_shape(x) -> tuple[int | None, ...] | None:
    """What is known of a tensor's shape; in a TensorFlow graph not even the rank need be."""
    try:
        return tuple(x.shape)
    except ValueError:
        return None


def _is_tensor(x) -> bool:
    return keras.ops.is_tensor(x) or isinstance(x, keras.Variable)
