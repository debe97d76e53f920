"""Checks of arguments. Each error names the argument, the values allowed and the value received.

The public functions and the layers check their arguments. They pass them on to the portable path or
the compiled operators, which do not check again.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence, Set

import keras
import numpy as np
from keras import ops

NORMALIZATIONS = ("area", "valid", None)
IMPLEMENTATIONS = ("native", "portable")
DATA_FORMATS = ("channels_last", "channels_first")
FLOAT_TYPES = ("float16", "bfloat16", "float32", "float64")


def to_integer(value) -> int | None:
    """Returns `value` as an int, or None if it is not an integer.

    Integers from NumPy and tensor libraries are accepted. Booleans and floats are not, not even
    1.0.
    """
    if isinstance(value, (bool, np.bool_)):
        return None
    try:
        return operator.index(value)
    except (TypeError, ValueError):
        return None


def to_integer_pair(value) -> tuple[int, int] | None:
    """Returns `(n, n)` for an integer n and `(a, b)` for two integers; None for anything else."""
    single = to_integer(value)
    if single is not None:
        return single, single
    if isinstance(value, (str, bytes, Mapping, Set)):
        return None
    try:
        pair = tuple(to_integer(item) for item in value)
    except TypeError:
        return None
    return None if len(pair) != 2 or None in pair else pair


def standardize_count(value: int, name: str) -> int:
    """Returns `value` as an int. Raises a `ValueError` unless it is a positive integer."""
    count = to_integer(value)
    if count is None or count < 1:
        advice = ""
        if name == "depth_multiplier" and isinstance(value, (tuple, list)):
            advice = (
                ", the number of boxes for each channel. It is not a kernel size: leave that out, "
                "because the sizes of boxes are learned"
            )
        raise ValueError(f"`{name}` must be a positive integer{advice}. Received: {name}={value!r}")
    return count


def check_index(value: int, count: int, name: str) -> None:
    """Raises a `ValueError` unless `value` is an integer from 0 to `count - 1`."""
    index = to_integer(value)
    if index is None or not 0 <= index < count:
        raise ValueError(
            f"`{name}` must be an integer from 0 to {count - 1}. Received: {name}={value!r}"
        )


def standardize_strides(strides: int | Sequence[int]) -> tuple[int, int]:
    """Returns `(stride_y, stride_x)` from a positive integer or a pair of positive integers."""
    pair = to_integer_pair(strides)
    if pair is None or min(pair) < 1:
        raise ValueError(
            "`strides` must be a positive integer or a pair of them (stride_y, stride_x). "
            f"Received: strides={strides!r}"
        )
    return pair


def standardize_normalization(normalization: str | None) -> str | None:
    """Returns `normalization` if it is one of `"area"`, `"valid"` and `None`."""
    is_name = normalization is None or isinstance(normalization, str)
    if not (is_name and normalization in NORMALIZATIONS):
        raise ValueError(
            '`normalization` must be "area", "valid" or None. '
            f"Received: normalization={normalization!r}"
        )
    return normalization


def standardize_implementation(implementation: str) -> str:
    """Returns `implementation` if it is `"native"` or `"portable"`."""
    if not (isinstance(implementation, str) and implementation in IMPLEMENTATIONS):
        raise ValueError(
            '`implementation` must be "native" (the compiled operator) or "portable" (operations '
            f"of the framework). Received: implementation={implementation!r}"
        )
    return implementation


def channel_axis(data_format: str) -> int:
    """Returns the axis of the channels in a batch of images."""
    return 3 if data_format == "channels_last" else 1


def standardize_data_format(data_format: str | None) -> str:
    """Returns the data format in lower case; `None` gives `keras.config.image_data_format()`."""
    if data_format is None:
        return keras.config.image_data_format()
    lower_case = str(data_format).lower()
    if lower_case not in DATA_FORMATS:
        raise ValueError(
            '`data_format` must be "channels_last" or "channels_first". '
            f"Received: data_format={data_format!r}"
        )
    return lower_case


def dtype_name(x) -> str:
    """Returns the dtype of a tensor of any framework as a string, like `"float32"`."""
    return keras.backend.standardize_dtype(x.dtype)


def convert_images(x):
    """Converts `x` to a tensor. Raises an error unless it is floating and has rank 4."""
    x = ops.convert_to_tensor(x)
    check_images(x)
    return x


def with_known_rank(x):
    """Returns a tensor that is known to have rank 4. Another rank is an error at run time."""
    if static_shape(x) is not None:
        return x
    import tensorflow as tf  # Tensors of other frameworks always have a rank.

    return tf.ensure_shape(x, [None] * 4)


def check_images(x) -> None:
    """Raises an error unless `x`, a tensor or `KerasTensor`, is floating and has rank 4."""
    if dtype_name(x) not in FLOAT_TYPES:
        raise TypeError(
            "`x` must be float16, bfloat16, float32 or float64. "
            f"Received: x.dtype={dtype_name(x)}; convert it with keras.ops.cast first."
        )
    shape = static_shape(x)
    if shape is not None and len(shape) != 4:
        raise ValueError(
            f"`x` must have rank 4, [N, H, W, C] or [N, C, H, W]. Received: x.shape={shape}"
        )


def convert_boxes(boxes, x, data_format: str):
    """Converts `boxes` to a tensor `[C, M, 4]`, float64 if `x` is float64, otherwise float32.

    Raises an error if their dtype or shape does not fit `x`.
    """
    dtype = _boxes_dtype(x)
    if not _is_tensor(boxes):
        boxes = ops.convert_to_tensor(boxes, dtype=dtype)
    elif dtype_name(boxes) == "float32" and dtype == "float64":
        boxes = ops.cast(boxes, dtype)
    check_boxes(boxes, x, data_format)
    return ops.convert_to_tensor(boxes)


def check_boxes(boxes, x, data_format: str) -> None:
    """Raises an error unless the dtype and shape of `boxes` fit `x`. Accepts `KerasTensor`s."""
    dtype = _boxes_dtype(x)
    if dtype_name(boxes) not in ("float32", dtype):
        # Mixed precision rounds a variable when it is read. A cast would come too late.
        is_variable = isinstance(boxes, keras.Variable)
        advice = (
            "create the weight with `autocast=False`"
            if is_variable
            else ("convert them with keras.ops.cast first")
        )
        raise TypeError(
            f"`boxes` must be {dtype} when `x` is {dtype_name(x)}. Received: "
            f"boxes.dtype={dtype_name(boxes)}; {advice}."
        )
    shape, x_shape = static_shape(boxes), static_shape(x)
    if shape is not None and (len(shape) != 3 or shape[2] not in (4, None)):
        raise ValueError(
            "`boxes` must have shape [C, M, 4]: M boxes (y_min, x_min, y_max, x_max) in pixels "
            f"for each of C input channels. Received: boxes.shape={shape}"
        )
    if shape is None or x_shape is None:
        return
    channels = x_shape[-1 if data_format == "channels_last" else 1]
    if channels is not None and shape[0] is not None and channels != shape[0]:
        raise ValueError(
            f"`boxes` must have one row per channel of `x`, {channels} with "
            f"data_format={data_format!r}. Received: boxes.shape={shape}, x.shape={x_shape}"
        )


def convert_kernel(kernel, boxes, x):
    """Converts `kernel` to a tensor `[C * M, filters]` with the dtype of `x`.

    Raises an error if its dtype or shape does not fit `x` and `boxes`.
    """
    kernel = _convert_like(kernel, x)
    check_kernel(kernel, boxes, x)
    return ops.convert_to_tensor(kernel)


def check_kernel(kernel, boxes, x) -> None:
    """Raises an error unless the dtype and shape of `kernel` fit. Accepts `KerasTensor`s."""
    _check_dtype_like(kernel, "kernel", x)
    shape, boxes_shape = static_shape(kernel), static_shape(boxes)
    if shape is not None and len(shape) != 2:
        raise ValueError(
            "`kernel` must have shape [C * M, filters]: a row of weights for each box. Received: "
            f"kernel.shape={shape}"
        )
    if shape is None or boxes_shape is None or None in (shape[0], *boxes_shape[:2]):
        return
    boxes_count = boxes_shape[0] * boxes_shape[1]
    if shape[0] != boxes_count:
        raise ValueError(
            f"`kernel` must have shape [C * M, filters]: one row for each box, {boxes_count}. "
            f"Received: kernel.shape={shape}, boxes.shape={boxes_shape}"
        )


def convert_bias(bias, kernel, x):
    """Converts `bias` to a tensor `[filters]` with the dtype of `x`; None stays None.

    Raises an error if its dtype or shape does not fit `x` and `kernel`.
    """
    if bias is None:
        return None
    bias = _convert_like(bias, x)
    check_bias(bias, kernel, x)
    return ops.convert_to_tensor(bias)


def check_bias(bias, kernel, x) -> None:
    """Raises an error unless the dtype and shape of `bias` fit. Accepts `KerasTensor`s and None."""
    if bias is None:
        return
    _check_dtype_like(bias, "bias", x)
    shape, kernel_shape = static_shape(bias), static_shape(kernel)
    filters = None if kernel_shape is None else kernel_shape[1]
    if shape is None or (len(shape) == 1 and (None in (shape[0], filters) or shape[0] == filters)):
        return
    raise ValueError(
        "`bias` must have shape [filters]: one value for each column of `kernel`. Received: "
        f"bias.shape={shape}, kernel.shape={kernel_shape}"
    )


def _convert_like(array, x):
    """Converts `array` to a tensor with the dtype of `x`, unless it is a tensor already."""
    return array if _is_tensor(array) else ops.convert_to_tensor(array, dtype=dtype_name(x))


def _check_dtype_like(array, name: str, x) -> None:
    if dtype_name(array) != dtype_name(x):
        raise TypeError(
            f"`{name}` must have the dtype of `x`, {dtype_name(x)}. Received: "
            f"{name}.dtype={dtype_name(array)}; convert it with keras.ops.cast first."
        )


def _boxes_dtype(x) -> str:
    return "float64" if dtype_name(x) == "float64" else "float32"


def as_tensor_like(x, dtype: str | None = None):
    """Returns `x` if it is a tensor or a `KerasTensor`, otherwise the tensor made from it."""
    return x if _is_tensor(x) or is_symbolic(x) else ops.convert_to_tensor(x, dtype)


def is_symbolic(*arguments) -> bool:
    """Returns whether one of `arguments` is a `KerasTensor`, a tensor of a functional model."""
    return any(isinstance(argument, keras.KerasTensor) for argument in arguments)


def strided_shape(shape, strides: tuple[int, int], channels: int | None, data_format: str):
    """Returns the shape of the output of a box convolution.

    Args:
        shape: The shape of the input, `[N, H, W, C]` or `[N, C, H, W]`; sizes may be None.
        strides: `(stride_y, stride_x)`.
        channels: The number of output channels; None if unknown.
        data_format: `"channels_last"` or `"channels_first"`.
    """
    first = 1 if data_format == "channels_last" else 2
    sizes = zip(shape[first : first + 2], strides, strict=True)
    size = [None if length is None else -(-length // stride) for length, stride in sizes]
    if data_format == "channels_last":
        return (shape[0], *size, channels)
    return (shape[0], channels, *size)


def static_shape(x) -> tuple[int | None, ...] | None:
    """Returns the shape of a tensor, with None for unknown sizes.

    Returns None if even the rank is unknown, which TensorFlow graphs allow.
    """
    try:
        return tuple(x.shape)
    except ValueError:
        return None


def _is_tensor(x) -> bool:
    return keras.ops.is_tensor(x) or isinstance(x, keras.Variable)
