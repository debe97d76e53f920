"""The stock-op path: box convolution as two products with overlap matrices.

A box is separable, so one channel's response is `Ay @ X @ Ax^T`, where `Ay[i, j]` is how much of
pixel row `j` the box covers at output row `i`, and `Ax` likewise for columns. This is exact, has no
summed-area table and so no cancellation, is differentiable to any order by the framework, and runs
wherever a matrix product runs. It costs more than the compiled op as planes grow.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tf_boxconv.ops import stock_ops_scope
from tf_boxconv.ops.arguments import (
    convert_boxes,
    convert_images,
    standardize_data_format,
    standardize_normalization,
    standardize_strides,
)


def box_conv2d_overlap(
    x, boxes, strides=1, normalization="area", data_format=None, name=None
) -> tf.Tensor:
    """Computes what `tf_boxconv.box_conv2d` computes, with stock TensorFlow ops only.

    Args, shapes, units and errors are those of `tf_boxconv.box_conv2d`.
    """
    strides = standardize_strides(strides)
    normalization = standardize_normalization(normalization)
    data_format = standardize_data_format(data_format)
    with tf.name_scope(name or "box_conv2d_overlap"):
        x = convert_images(x)
        boxes = convert_boxes(boxes, x, data_format)
        planes = tf.transpose(x, [0, 3, 1, 2]) if data_format == "channels_last" else x
        planes = tf.cast(planes, boxes.dtype)
        size = _dimensions(planes)[2:]
        matrices = _constant_matrices(boxes, size, strides, normalization)
        if matrices is None:
            matrices = _stacked_matrices(boxes, size, strides, normalization)
        # Rounded up without negative numbers, which tf2onnx would divide otherwise.
        height = (size[0] + strides[0] - 1) // strides[0]
        out = apply_overlap(planes, *matrices, height)
        if data_format == "channels_last":
            out = tf.transpose(out, [0, 2, 3, 1])
        return tf.cast(out, x.dtype)


def apply_overlap(planes: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor, height) -> tf.Tensor:
    """Applies stacked matrices to planes `[N, C, H, W]`: `[N, C * M, H', W']`.

    Args:
        planes: The planes.
        rows: `[C, M * H', H]`: one product applies all boxes of a channel.
        columns: `[C * M, W', W]`.
        height: `H'`.
    """
    # Only leading axes broadcast: TensorFlow.js multiplies wrongly where others would.
    responses = tf.matmul(rows, planes)
    batch, *_, width = _dimensions(responses)
    others = [_dimensions(columns)[0], height, width]
    # With one unknown, converters to other runtimes need no arithmetic on shapes.
    if all(isinstance(size, int) and size > 0 for size in others):
        batch = -1
    responses = tf.reshape(responses, [batch, *others])
    return tf.matmul(responses, columns, transpose_b=True)


def _dimensions(x: tf.Tensor) -> list:
    """The dimensions of `x`, integers where they are known."""
    dynamic = tf.shape(x)
    return [dynamic[i] if size is None else size for i, size in enumerate(x.shape)]


def _constant_matrices(boxes, size, strides, normalization) -> list[tf.Tensor] | None:
    """`_stacked_matrices` computed now, where an export allows it and everything is known."""
    if not stock_ops_scope.is_active() or not all(isinstance(length, int) for length in size):
        return None
    values = tf.get_static_value(boxes)
    if values is None:
        return None
    with tf.init_scope():
        matrices = _stacked_matrices(tf.constant(values), size, strides, normalization)
        values = [matrix.numpy() for matrix in matrices]
    return [tf.constant(value) for value in values]


def _stacked_matrices(boxes, size, strides, normalization) -> list[tf.Tensor]:
    """`overlap_matrices` as `apply_overlap` wants them."""
    rows, columns = overlap_matrices(boxes, size, strides, normalization)
    channels, multiplier, height, full_height = _dimensions(rows)
    *_, width, full_width = _dimensions(columns)
    return [
        tf.reshape(rows, [channels, multiplier * height, full_height]),
        tf.reshape(columns, [channels * multiplier, width, full_width]),
    ]


def overlap_matrices(
    boxes: tf.Tensor, size: Sequence, strides: tuple[int, int], normalization: str | None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the normalised row and column matrices, `[C, M, H', H]` and `[C, M, W', W]`."""
    # An empty, inverted or NaN box is replaced by a harmless one and its matrices set to zero, so
    # that neither values nor gradients of any order see it.
    valid = tf.reduce_all(boxes[..., 2:] > boxes[..., :2], axis=-1)[..., tf.newaxis]
    harmless = tf.constant([-0.5, -0.5, 0.5, 0.5], boxes.dtype)
    boxes = tf.where(valid, boxes, harmless)
    matrices = []
    for axis in (0, 1):
        low, high = boxes[..., axis], boxes[..., axis + 2]
        matrix = _axis_overlap(low, high, size[axis], strides[axis])
        if normalization == "area":
            matrix = matrix / (high - low)[..., tf.newaxis, tf.newaxis]
        elif normalization == "valid":
            matrix = tf.math.divide_no_nan(matrix, tf.reduce_sum(matrix, -1, keepdims=True))
        matrices.append(tf.where(valid[..., tf.newaxis], matrix, tf.zeros_like(matrix)))
    return tuple(matrices)


def _axis_overlap(low: tf.Tensor, high: tf.Tensor, size: tf.Tensor, stride: int) -> tf.Tensor:
    """Length of pixel `j` within the box at output `i` along one axis: `[C, M, size', size]`."""
    pixels = tf.range(size)
    outputs = tf.range(0, size, stride)
    # Integer differences first: the coordinates then stay exact however large the plane.
    offset = tf.cast(pixels[tf.newaxis, :] - outputs[:, tf.newaxis], low.dtype)
    low, high = low[..., tf.newaxis, tf.newaxis], high[..., tf.newaxis, tf.newaxis]
    # At a tie minimum and maximum pass the gradient to their FIRST argument and clipping passes it
    # at its lower bound: together that is the outward derivative on pixel borders.
    length = tf.minimum(offset + 0.5, high) - tf.maximum(offset - 0.5, low)
    return tf.clip_by_value(length, 0.0, 1.0)
