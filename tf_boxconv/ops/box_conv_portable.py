"""The portable path of `box_conv2d`: two matrix products per plane, in `keras.ops` only.

A box is separable, so the response to a plane `X` is `Ay @ X @ Ax^T`. `Ay[i, j]` is the part of
pixel row `j`, from 0 to 1, that the box covers at output row `i`; `Ax` is the same for columns.
Sums are never subtracted from each other, so nothing cancels. Every framework differentiates the
products to any order. They are slower than the compiled operator, especially on large planes.

`_coverage` restates the box edges of `custom_ops/core/geometry`; the tests compare the two.
"""

from __future__ import annotations

from collections.abc import Sequence

from keras import ops

from tf_boxconv.ops.arguments import dtype_name, with_known_rank


def box_conv2d_portable(
    x,
    boxes,
    strides: tuple[int, int],
    normalization: str | None,
    data_format: str,
    matrices=None,
):
    """Computes `tf_boxconv.box_conv2d` on arguments that are checked already.

    Args:
        x: Images.
        boxes: Boxes `[C, M, 4]`. The computation runs in their dtype.
        strides: `(stride_y, stride_x)`.
        normalization: `"area"`, `"valid"` or `None`.
        data_format: `"channels_last"` or `"channels_first"`.
        matrices: The result of `coverage_matrices`; `None` computes it from `boxes`.
    """
    x = with_known_rank(x)
    planes = ops.transpose(x, [0, 3, 1, 2]) if data_format == "channels_last" else x
    planes = ops.cast(planes, dtype_name(boxes))
    size = ops.shape(planes)[2:]
    if matrices is None:
        matrices = coverage_matrices(boxes, size, strides, normalization)
    # Not `-(-size // stride)`: tf2onnx rounds quotients of negative numbers differently.
    height = (size[0] + strides[0] - 1) // strides[0]
    out = _apply(planes, *matrices, height)
    if data_format == "channels_last":
        out = ops.transpose(out, [0, 2, 3, 1])
    return ops.cast(out, dtype_name(x))


def _apply(planes, rows, columns, height):
    """Applies `coverage_matrices` to planes `[N, C, H, W]`; returns `[N, C * M, height, W']`."""
    # Only leading axes broadcast, because TensorFlow.js gives wrong products for other broadcasts.
    # Not `ops.matmul`: it gives float32 for float64 on PyTorch (Keras 3.15).
    responses = rows @ planes
    batch, *_, width = ops.shape(responses)
    plane_axes = [ops.shape(columns)[0], height, width]
    # A shape with a single unknown size, -1, needs no arithmetic on shapes in exported graphs.
    if all(isinstance(size, int) and size > 0 for size in plane_axes):
        batch = -1
    return ops.reshape(responses, [batch, *plane_axes]) @ columns


def coverage_matrices(
    boxes, size: Sequence, strides: tuple[int, int], normalization: str | None
) -> tuple:
    """Returns the normalized coverage matrices of rows and of columns, for `box_conv2d_portable`.

    Args:
        boxes: `[C, M, 4]`.
        size: `(H, W)` of the planes, integers or scalar tensors.
        strides: `(stride_y, stride_x)`.
        normalization: `"area"`, `"valid"` or `None`.

    Returns:
        `[C, M * H', H]`, with the rows of all boxes of a channel below each other, and the
        transposed `[C * M, W, W']`, where `H' = ceil(H / stride_y)` and
        `W' = ceil(W / stride_x)`.
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
    """Returns the normalized coverage matrices `[C, M, H', H]` and `[C, M, W', W]`."""
    # Empty, inverted and NaN boxes give 0 and zero gradients of any order: the identity replaces
    # the box, and zeros replace its matrices.
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
            # A division by zero would make the gradient NaN even though `where` discards the
            # quotient. So the divisor is replaced by 1.
            nonempty = inside > 0
            divisor = ops.where(nonempty, inside, ops.ones_like(inside))
            matrix = ops.where(nonempty, matrix / divisor, zero)
        matrices.append(ops.where(valid, matrix, zero))
    return matrices


def _coverage(low, high, size, stride: int):
    """Returns the length of the part of pixel `j` inside the box at output `i`, along one axis.

    Args:
        low: `y_min` or `x_min`, `[C, M, 1, 1]`.
        high: `y_max` or `x_max`, `[C, M, 1, 1]`.
        size: The size of the planes along this axis.
        stride: The stride along this axis.

    Returns:
        `[C, M, ceil(size / stride), size]`.
    """
    pixels = ops.arange(size, dtype="int32")
    outputs = ops.arange(0, size, stride, dtype="int32")
    # The difference of integers is exact on planes of any size.
    offset = ops.cast(ops.expand_dims(pixels, 0) - ops.expand_dims(outputs, 1), dtype_name(low))
    # Not `minimum`, `maximum` and `clip`: their derivatives at a tie depend on the framework. Here
    # an edge on a pixel border has the derivative in the direction in which the box grows.
    end, begin = offset + 0.5, offset - 0.5
    length = ops.where(end <= high, end, high) - ops.where(begin >= low, begin, low)
    length = ops.where(length < 0, ops.zeros_like(length), length)
    return ops.where(length > 1, ops.ones_like(length), length)
