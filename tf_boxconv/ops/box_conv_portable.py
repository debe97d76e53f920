"""Box convolution in Keras operations only: two matrix products per plane.

A box is separable, so the response of a plane `X` is `Ay @ X @ Ax^T`. `Ay[i, j]` is the length of
pixel row `j` that the box covers at output row `i`; `Ax` is the same for columns. Nothing is
subtracted, so nothing cancels. The framework differentiates this to any order, and it runs wherever
a matrix product runs. It costs more than the compiled operator, and more so on larger planes.

The formula restates `custom_ops/core/geometry`; the tests compare the two.
"""

from __future__ import annotations

from collections.abc import Sequence

from keras import ops

from tf_boxconv.ops.arguments import dtype_name


def box_conv2d_portable(
    x,
    boxes,
    strides: tuple[int, int],
    normalization: str | None,
    data_format: str,
    matrices=None,
):
    """Computes `tf_boxconv.box_conv2d` on tensors and arguments that it has checked.

    Args:
        x: As for `box_conv2d`.
        boxes: Likewise, in the dtype to compute in.
        strides: Likewise.
        normalization: Likewise.
        data_format: Likewise.
        matrices: What `coverage_matrices` returns for these arguments, if it is known already.
    """
    planes = ops.transpose(x, [0, 3, 1, 2]) if data_format == "channels_last" else x
    planes = ops.cast(planes, dtype_name(boxes))
    size = ops.shape(planes)[2:]
    if matrices is None:
        matrices = coverage_matrices(boxes, size, strides, normalization)
    # Rounded up without negative numbers, which tf2onnx would divide otherwise.
    height = (size[0] + strides[0] - 1) // strides[0]
    out = _apply(planes, *matrices, height)
    if data_format == "channels_last":
        out = ops.transpose(out, [0, 2, 3, 1])
    return ops.cast(out, dtype_name(x))


def _apply(planes, rows, columns, height):
    """Applies `coverage_matrices` to planes `[N, C, H, W]`; returns `[N, C * M, height, W']`."""
    # Only leading axes broadcast: TensorFlow.js multiplies wrongly where others would. Not
    # `ops.matmul`, which gives float32 for float64 on backends other than TensorFlow (Keras 3.15).
    responses = rows @ planes
    batch, *_, width = ops.shape(responses)
    others = [ops.shape(columns)[0], height, width]
    # With one unknown size, converters to other runtimes need no arithmetic on shapes.
    if all(isinstance(size, int) and size > 0 for size in others):
        batch = -1
    return ops.reshape(responses, [batch, *others]) @ columns


def coverage_matrices(
    boxes, size: Sequence, strides: tuple[int, int], normalization: str | None
) -> tuple:
    """Returns the normalized matrices of rows and of columns, stacked for few, large products.

    Args:
        boxes: `[C, M, 4]`.
        size: `(H, W)` of the planes, integers or scalar tensors.
        strides: `(stride_y, stride_x)`.
        normalization: `"area"`, `"valid"` or `None`.

    Returns:
        `[C, M * H', H]`, which applies all boxes of a channel at once, and `[C * M, W, W']`.
    """
    rows, columns = _normalized_coverage(boxes, size, strides, normalization)
    channels, multiplier, height, full_height = ops.shape(rows)
    *_, width, full_width = ops.shape(columns)
    return (
        ops.reshape(rows, [channels, multiplier * height, full_height]),
        ops.reshape(
            ops.transpose(columns, [0, 1, 3, 2]), [channels * multiplier, full_width, width]
        ),
    )


def _normalized_coverage(boxes, size, strides, normalization) -> list:
    """The matrices `[C, M, H', H]` and `[C, M, W', W]`."""
    # An empty, inverted or NaN box is replaced by the identity, and its matrices by zeros, so that
    # it takes part in neither values nor gradients of any order.
    valid = ops.all(boxes[..., 2:] > boxes[..., :2], axis=-1, keepdims=True)
    identity = ops.convert_to_tensor([-0.5, -0.5, 0.5, 0.5], dtype_name(boxes))
    boxes = ops.where(valid, boxes, identity)
    valid = ops.expand_dims(valid, -1)
    matrices = []
    for axis in (0, 1):
        low, high = boxes[..., axis, None, None], boxes[..., axis + 2, None, None]
        matrix = _coverage(low, high, size[axis], strides[axis])
        zero = ops.zeros_like(matrix)
        if normalization == "area":
            matrix = matrix / (high - low)
        elif normalization == "valid":
            inside = ops.sum(matrix, axis=-1, keepdims=True)
            # Never divides by zero, not even where `where` discards the quotient: its gradient
            # would be NaN.
            some = inside > 0
            matrix = ops.where(some, matrix / ops.where(some, inside, ops.ones_like(inside)), zero)
        matrices.append(ops.where(valid, matrix, zero))
    return matrices


def _coverage(low, high, size, stride: int):
    """Length of pixel `j` inside the box at output `i`, along one axis: `[C, M, size', size]`."""
    pixels = ops.arange(size, dtype="int32")
    outputs = ops.arange(0, size, stride, dtype="int32")
    # Subtracting integers keeps the coordinates exact on planes of any size.
    offset = ops.cast(ops.expand_dims(pixels, 0) - ops.expand_dims(outputs, 1), dtype_name(low))
    # Not `minimum`, `maximum` and `clip`: frameworks differentiate them differently at a tie. Here
    # an edge on a pixel border has the derivative in the direction in which the box grows.
    end, begin = offset + 0.5, offset - 0.5
    length = ops.where(end <= high, end, high) - ops.where(begin >= low, begin, low)
    length = ops.where(length < 0, ops.zeros_like(length), length)
    return ops.where(length > 1, ops.ones_like(length), length)
