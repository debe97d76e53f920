"""The stock-op path: box convolution as two products with overlap matrices.

A box is separable, so one channel's response is `Ay @ X @ Ax^T`, where `Ay[i, j]` is how much of
pixel row `j` the box covers at output row `i`, and `Ax` likewise for columns. This is exact, has no
summed-area table and so no cancellation, is differentiable to any order by the framework, and runs
wherever a matrix product runs. It costs more than the compiled op as planes grow.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import ops

from tf_boxconv.ops import stock_ops_scope
from tf_boxconv.ops.arguments import (
    convert_boxes,
    convert_images,
    dtype_name,
    standardize_data_format,
    standardize_normalization,
    standardize_strides,
)


def box_conv2d_overlap(x, boxes, strides=1, normalization="area", data_format=None, name=None):
    """Computes what `tf_boxconv.box_conv2d` computes, with Keras's own ops only.

    Args, shapes, units and errors are those of `tf_boxconv.box_conv2d`.
    """
    strides = standardize_strides(strides)
    normalization = standardize_normalization(normalization)
    data_format = standardize_data_format(data_format)
    with keras.name_scope(name or "box_conv2d_overlap"):
        x = convert_images(x)
        boxes = convert_boxes(boxes, x, data_format)
        planes = ops.transpose(x, [0, 3, 1, 2]) if data_format == "channels_last" else x
        planes = ops.cast(planes, boxes.dtype)
        size = ops.shape(planes)[2:]

        def matrices(boxes):
            return _stacked_matrices(boxes, size, strides, normalization)

        known = all(isinstance(length, int) for length in size)
        stacked = stock_ops_scope.folded(matrices, boxes) if known else matrices(boxes)
        # Rounded up without negative numbers, which tf2onnx would divide otherwise.
        height = (size[0] + strides[0] - 1) // strides[0]
        out = apply_overlap(planes, *stacked, height)
        if data_format == "channels_last":
            out = ops.transpose(out, [0, 2, 3, 1])
        return ops.cast(out, x.dtype)


def apply_overlap(planes, rows, columns, height):
    """Applies stacked matrices to planes `[N, C, H, W]`: `[N, C * M, H', W']`.

    Args:
        planes: The planes.
        rows: `[C, M * H', H]`: one product applies all boxes of a channel.
        columns: `[C * M, W, W']`.
        height: `H'`.
    """
    # Only leading axes broadcast: TensorFlow.js multiplies wrongly where others would. Not
    # `ops.matmul`, which gives float32 for float64 on backends other than TensorFlow (Keras 3.15).
    responses = rows @ planes
    batch, *_, width = ops.shape(responses)
    others = [ops.shape(columns)[0], height, width]
    # With one unknown, converters to other runtimes need no arithmetic on shapes.
    if all(isinstance(size, int) and size > 0 for size in others):
        batch = -1
    return ops.reshape(responses, [batch, *others]) @ columns


def _stacked_matrices(boxes, size, strides, normalization) -> list:
    """`overlap_matrices` as `apply_overlap` wants them."""
    rows, columns = overlap_matrices(boxes, size, strides, normalization)
    channels, multiplier, height, full_height = ops.shape(rows)
    *_, width, full_width = ops.shape(columns)
    return [
        ops.reshape(rows, [channels, multiplier * height, full_height]),
        ops.reshape(
            ops.transpose(columns, [0, 1, 3, 2]), [channels * multiplier, full_width, width]
        ),
    ]


def overlap_matrices(
    boxes, size: Sequence, strides: tuple[int, int], normalization: str | None
) -> tuple:
    """Returns the normalised row and column matrices, `[C, M, H', H]` and `[C, M, W', W]`."""
    # An empty, inverted or NaN box is replaced by a harmless one and its matrices set to zero, so
    # that neither values nor gradients of any order see it.
    valid = ops.all(boxes[..., 2:] > boxes[..., :2], axis=-1, keepdims=True)
    harmless = ops.convert_to_tensor([-0.5, -0.5, 0.5, 0.5], boxes.dtype)
    boxes = ops.where(valid, boxes, harmless)
    valid = ops.expand_dims(valid, -1)
    matrices = []
    for axis in (0, 1):
        low, high = boxes[..., axis, None, None], boxes[..., axis + 2, None, None]
        matrix = _axis_overlap(low, high, size[axis], strides[axis])
        zero = ops.zeros_like(matrix)
        if normalization == "area":
            matrix = matrix / (high - low)
        elif normalization == "valid":
            inside = ops.sum(matrix, axis=-1, keepdims=True)
            # Divides by no zero even where the quotient is not used: gradients would see it.
            some = inside > 0
            matrix = ops.where(some, matrix / ops.where(some, inside, ops.ones_like(inside)), zero)
        matrices.append(ops.where(valid, matrix, zero))
    return tuple(matrices)


def _axis_overlap(low, high, size, stride: int):
    """Length of pixel `j` within the box at output `i` along one axis: `[C, M, size', size]`."""
    pixels = ops.arange(size, dtype="int32")
    outputs = ops.arange(0, size, stride, dtype="int32")
    # Integer differences first: the coordinates then stay exact however large the plane.
    offset = ops.cast(ops.expand_dims(pixels, 0) - ops.expand_dims(outputs, 1), dtype_name(low))
    # Not `minimum`, `maximum` and `clip`, whose derivatives at a tie differ between frameworks.
    # These are outward on pixel borders: an edge that touches a pixel from outside has its share.
    end, begin = offset + 0.5, offset - 0.5
    length = ops.where(end <= high, end, high) - ops.where(begin >= low, begin, low)
    length = ops.where(length < 0, ops.zeros_like(length), length)
    return ops.where(length > 1, ops.ones_like(length), length)
