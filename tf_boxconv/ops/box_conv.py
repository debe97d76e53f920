"""`box_conv2d`: the operator, by the compiled op or by stock ops."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from tf_boxconv import backends
from tf_boxconv.ops import stock_ops_scope
from tf_boxconv.ops.arguments import (
    convert_boxes,
    convert_images,
    standardize_data_format,
    standardize_implementation,
    standardize_normalization,
    standardize_strides,
)
from tf_boxconv.ops.box_conv_overlap import box_conv2d_overlap


def box_conv2d(
    x,
    boxes,
    strides: int | Sequence[int] = 1,
    normalization: str | None = "area",
    data_format: str | None = None,
    name: str | None = None,
    implementation: str = "native",
):
    """Convolves each channel of `x` with boxes of any size, at a cost independent of the size.

    Output `(y, x)` of a box is the integral of the image over the box, put with its origin on the
    centre of pixel `(y, x)`, divided by what `normalization` says. The image counts as a plane of
    unit squares of constant value centred on its pixels, and as zero outside; box edges may lie
    anywhere between pixels. `(-.5, -.5, .5, .5)` is the identity and `(-1.5, -1.5, 1.5, 1.5)` the
    3x3 mean.

    The result is differentiable with respect to `x` and `boxes`; where an edge lies exactly on a
    pixel border, its derivative is the one in the direction in which the box grows. An empty or
    inverted box (`y_max <= y_min` or `x_max <= x_min`), or one with a NaN, gives 0 and zero
    gradients. With the compiled operator a NaN or infinity in `x` reaches only outputs whose box
    holds or touches its pixel.

    The operator is that of Zhang, Halber and Rusinkiewicz, "Accelerating Large-Kernel Convolution
    Using Summed-Area Tables" (arXiv 1906.11367), with edges as in Burkov and Lempitsky, "Deep
    Neural Networks with Box Convolutions" (NeurIPS 2018).

    Args:
        x: Tensor `[N, H, W, C]`, or `[N, C, H, W]` with `data_format="channels_first"`; float16,
            bfloat16, float32 or float64. Any size may be 0.
        boxes: Tensor `[C, M, 4]`: for each channel `M` boxes `(y_min, x_min, y_max, x_max)` in
            pixels, relative to the centre of the output pixel. float64 if `x` is, else float32.
        strides: `s` or `(stride_y, stride_x)`: output `(i, j)` is the response at pixel
            `(i * stride_y, j * stride_x)`.
        normalization: `"area"` divides by the box's area, `"valid"` by the area of its part inside
            the image (0 where there is none), `None` by nothing: plain sums.
        data_format: `"channels_last"` or `"channels_first"`; `None` takes Keras's default.
        name: A name for the operation.
        implementation: `"native"` runs the compiled operator. `"portable"` computes the same by
            Keras's own ops, slower, on every backend and device, so that the graph runs where the
            compiled library is not at hand; it is differentiable to any order and in any mode. It
            multiplies whole planes by matrices, so that a NaN or infinity in a plane reaches all of
            its outputs.

    Returns:
        Tensor of Keras's backend, of `x`'s dtype, with shape
        `[N, ceil(H / stride_y), ceil(W / stride_x), C * M]`, or channels-first likewise. Channel
        `c * M + m` is channel `c` of `x` under its box `m`.

    Raises:
        ValueError: for a wrong rank, shape or option.
        TypeError: for a dtype not named above.

    Example:
    >>> x = keras.random.normal([1, 64, 64, 1])
    >>> boxes = [[[-10.5, -10.5, 10.5, 10.5], [-3.0, -20.0, 4.0, 0.0]]]
    >>> tf_boxconv.box_conv2d(x, boxes).shape
    TensorShape([1, 64, 64, 2])
    """
    strides = standardize_strides(strides)
    normalization = standardize_normalization(normalization)
    data_format = standardize_data_format(data_format)
    implementation = standardize_implementation(implementation)
    native = backends.native
    if implementation == "portable" or native is None or stock_ops_scope.is_active():
        return box_conv2d_overlap(x, boxes, strides, normalization, data_format, name)
    with keras.name_scope(name or "box_conv2d"):
        x = convert_images(x)
        boxes = convert_boxes(boxes, x, data_format)
        return native.box_conv2d(x, boxes, strides, normalization, data_format)
