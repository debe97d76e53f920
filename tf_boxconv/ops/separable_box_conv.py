"""`separable_box_conv2d`: checks its arguments, then runs the compiled or the portable path."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from tf_boxconv import backends
from tf_boxconv.ops.arguments import (
    as_tensor_like,
    check_bias,
    check_boxes,
    check_images,
    check_kernel,
    convert_bias,
    convert_boxes,
    convert_images,
    convert_kernel,
    dtype_name,
    is_symbolic,
    standardize_data_format,
    standardize_implementation,
    standardize_normalization,
    standardize_strides,
    strided_shape,
)
from tf_boxconv.ops.operation import BoxConvOperation
from tf_boxconv.ops.separable_box_conv_portable import separable_box_conv2d_portable


def separable_box_conv2d(
    x,
    boxes,
    kernel,
    bias=None,
    strides: int | Sequence[int] = 1,
    normalization: str | None = "area",
    data_format: str | None = None,
    name: str | None = None,
    implementation: str = "native",
):
    """2D box convolution followed by a 1x1 convolution: a convolution with kernels of boxes.

    Each channel of `x` is averaged over its boxes, as `box_conv2d` does. The responses are then
    mixed with the weights `kernel`:

        out[..., f] = bias[f] + sum over c and m of
                      box_conv2d(x, boxes)[..., c * M + m] * kernel[c * M + m, f]

    `BoxConv2D` computes this before its activation. On the CPU one operator computes the responses
    of a few images at a time, multiplies them while they are in the cache, and computes them again
    for the gradient. The tensor of all responses, `M` times as large as `x`, never exists. On
    other devices, and on TensorFlow for planes of fewer than 32x32 pixels, this function runs
    `box_conv2d` and a matrix product.

    The result is differentiable with respect to `x`, `boxes`, `kernel` and `bias`, and so are its
    gradients. See `box_conv2d` for the geometry of boxes and for their derivatives.

    Args:
        x: Tensor or `KerasTensor` with shape `[N, H, W, C]`, or `[N, C, H, W]` if
            `data_format="channels_first"`; float16, bfloat16, float32 or float64. Sizes may be 0,
            and None in a `KerasTensor`.
        boxes: Tensor or `KerasTensor` with shape `[C, M, 4]`: `M` boxes
            `(y_min, x_min, y_max, x_max)` for each channel, in pixels relative to the centre of
            the output pixel; float64 if `x` is float64, and float32 otherwise.
        kernel: Tensor or `KerasTensor` with shape `[C * M, filters]` and the dtype of `x`. Row
            `c * M + m` holds the weights of box `m` of channel `c`.
        bias: Tensor or `KerasTensor` with shape `[filters]` and the dtype of `x`. `None` adds no
            bias.
        strides: int or tuple/list of 2 integers `(stride_y, stride_x)`. Output `(i, j)` is the
            response at pixel `(i * stride_y, j * stride_x)`.
        normalization: `"area"` divides by the area of the box. `"valid"` divides by the area of
            the part of the box inside the image; the response is 0 if that part is empty. `None`
            does not divide: the response is the sum.
        data_format: `"channels_last"` or `"channels_first"`. `None` uses
            `keras.config.image_data_format()`.
        name: Optional name for the operation.
        implementation: `"native"` runs the compiled operator, or the portable path if Keras's
            backend or device has no compiled operator. `"portable"` runs the portable path:
            operations of `keras.ops` that compute the same, more slowly. The two differ for NaNs
            and infinities in `x`: in the compiled operator they reach only output pixels for which
            a box contains or touches the pixel, in the portable path all pixels of the image.

    Returns:
        Tensor with the dtype of `x` and shape `[N, H', W', filters]`, or `[N, filters, H', W']` if
        `data_format="channels_first"`, where `H' = ceil(H / stride_y)` and
        `W' = ceil(W / stride_x)`.

    Raises:
        ValueError: If `x`, `boxes`, `kernel` or `bias` have a wrong rank or shape, or for an
            invalid option.
        TypeError: If `x`, `boxes`, `kernel` or `bias` have a dtype that is not listed above.

    Example:
    >>> x = keras.random.normal((1, 64, 64, 1))
    >>> boxes = [[[-10.5, -10.5, 10.5, 10.5], [-3.0, -3.0, 3.0, 3.0]]]
    >>> difference = [[1.0], [-1.0]]
    >>> y = tf_boxconv.separable_box_conv2d(x, boxes, difference)
    >>> tuple(y.shape)
    (1, 64, 64, 1)
    """
    strides = standardize_strides(strides)
    normalization = standardize_normalization(normalization)
    data_format = standardize_data_format(data_format)
    implementation = standardize_implementation(implementation)
    if is_symbolic(x, boxes, kernel, bias):
        operation = SeparableBoxConv2DOperation(
            strides, normalization, data_format, implementation, name=name
        )
        return operation.symbolic_call(x, boxes, kernel, bias)
    options = (strides, normalization, data_format)
    return _compute(x, boxes, kernel, bias, options, implementation, name)


def _compute(x, boxes, kernel, bias, options, implementation, name):
    portable = implementation == "portable" or backends.native is None
    *_, data_format = options
    with keras.name_scope(name or "separable_box_conv2d"):
        x = convert_images(x)
        boxes = convert_boxes(boxes, x, data_format)
        kernel = convert_kernel(kernel, boxes, x)
        bias = convert_bias(bias, kernel, x)
        if portable:
            return separable_box_conv2d_portable(x, boxes, kernel, bias, *options)
        return backends.native.separable_box_conv2d(x, boxes, kernel, bias, *options)


@keras.saving.register_keras_serializable(package="tf_boxconv")
class SeparableBoxConv2DOperation(BoxConvOperation):
    """The node that `separable_box_conv2d` adds to a functional model; it takes its arguments."""

    def call(self, x, boxes, kernel, bias=None):
        """Computes the output."""
        options = (self.strides, self.normalization, self.data_format)
        return _compute(x, boxes, kernel, bias, options, self.implementation, self.name)

    def compute_output_spec(self, x, boxes, kernel, bias=None):
        """Returns the shape and dtype of the output as a `KerasTensor`."""
        x, boxes = as_tensor_like(x), as_tensor_like(boxes, "float32")
        check_images(x)
        check_boxes(boxes, x, self.data_format)
        kernel = as_tensor_like(kernel, dtype_name(x))
        check_kernel(kernel, boxes, x)
        check_bias(None if bias is None else as_tensor_like(bias, dtype_name(x)), kernel, x)
        shape = strided_shape(x.shape, self.strides, kernel.shape[1], self.data_format)
        return keras.KerasTensor(shape, dtype_name(x))
