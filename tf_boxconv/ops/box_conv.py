"""`box_conv2d`: checks its arguments, then runs the compiled operator or the portable path."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from tf_boxconv import backends
from tf_boxconv.ops.arguments import (
    as_tensor_like,
    channel_axis,
    check_boxes,
    check_images,
    convert_boxes,
    convert_images,
    dtype_name,
    is_symbolic,
    standardize_data_format,
    standardize_implementation,
    standardize_normalization,
    standardize_strides,
    strided_shape,
)
from tf_boxconv.ops.box_conv_portable import box_conv2d_portable
from tf_boxconv.ops.operation import BoxConvOperation


def box_conv2d(
    x,
    boxes,
    strides: int | Sequence[int] = 1,
    normalization: str | None = "area",
    data_format: str | None = None,
    name: str | None = None,
    implementation: str = "native",
):
    """2D box convolution: averages each channel of `x` over boxes of any size.

    A box is a rectangle `(y_min, x_min, y_max, x_max)`, in pixels relative to the centre of the
    output pixel. The edges may be fractions of a pixel. The cost does not depend on the size of
    the box. The response at pixel `(i, j)` is

        out[i, j] = (1 / A) * (integral of the image over the rows from i + y_min to i + y_max
                               and the columns from j + x_min to j + x_max)

    where `A` is the area of the box, unless `normalization` says otherwise. In the integral a
    pixel is a unit square of constant value around its centre. The image is zero outside. The box
    `(-0.5, -0.5, 0.5, 0.5)` is the identity and `(-1.5, -1.5, 1.5, 1.5)` is the 3x3 mean.

    The result is differentiable with respect to `x` and `boxes`, and so are its gradients. If an
    edge lies exactly on a pixel border, its derivative is the one in the direction in which the
    box grows. An empty or inverted box (`y_max <= y_min` or `x_max <= x_min`), or one with a NaN,
    gives 0 and zero gradients.

    Args:
        x: Tensor or `KerasTensor` with shape `[N, H, W, C]`, or `[N, C, H, W]` if
            `data_format="channels_first"`; float16, bfloat16, float32 or float64. Sizes may be 0,
            and None in a `KerasTensor`.
        boxes: Tensor or `KerasTensor` with shape `[C, M, 4]`: `M` boxes
            `(y_min, x_min, y_max, x_max)` for each channel, in pixels; float64 if `x` is float64,
            and float32 otherwise. Use a layer of `tf_boxconv.layers` for boxes that a model trains
            and saves. This function owns no weights.
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
            operations of `keras.ops` that compute the same, more slowly. It supports derivatives
            of any order and in any mode. The compiled operator supports gradients of gradients; on
            JAX it has no forward-mode derivatives. The two differ for NaNs and infinities in `x`:
            in the compiled operator they reach only outputs whose box contains or touches the
            pixel, in the portable path all outputs of the plane.

    Returns:
        Tensor with the dtype of `x` and shape `[N, H', W', C * M]`, or `[N, C * M, H', W']` if
        `data_format="channels_first"`, where `H' = ceil(H / stride_y)` and
        `W' = ceil(W / stride_x)`. Channel `c * M + m` is channel `c` of `x` averaged over its
        box `m`.

    Raises:
        ValueError: If `x` or `boxes` have a wrong rank or shape, or for an invalid option.
        TypeError: If `x` or `boxes` have a dtype that is not listed above.

    Example:
    >>> x = keras.random.normal((1, 64, 64, 1))
    >>> boxes = [[[-10.5, -10.5, 10.5, 10.5], [-3.0, -20.0, 4.0, 0.0]]]
    >>> y = tf_boxconv.box_conv2d(x, boxes)
    >>> tuple(y.shape)
    (1, 64, 64, 2)

    References:
    - Burkov and Lempitsky, "Deep Neural Networks with Box Convolutions" (NeurIPS 2018)
    - Zhang, Halber and Rusinkiewicz, "Accelerating Large-Kernel Convolution Using Summed-Area
      Tables" (arXiv 1906.11367)
    """
    strides = standardize_strides(strides)
    normalization = standardize_normalization(normalization)
    data_format = standardize_data_format(data_format)
    implementation = standardize_implementation(implementation)
    if is_symbolic(x, boxes):
        operation = BoxConv2DOperation(
            strides, normalization, data_format, implementation, name=name
        )
        return operation.symbolic_call(x, boxes)
    return _compute(x, boxes, strides, normalization, data_format, implementation, name)


def _compute(x, boxes, strides, normalization, data_format, implementation, name):
    portable = implementation == "portable" or backends.native is None
    run = box_conv2d_portable if portable else backends.native.box_conv2d
    with keras.name_scope(name or "box_conv2d"):
        x = convert_images(x)
        boxes = convert_boxes(boxes, x, data_format)
        return run(x, boxes, strides, normalization, data_format)


@keras.saving.register_keras_serializable(package="tf_boxconv")
class BoxConv2DOperation(BoxConvOperation):
    """The node that `box_conv2d` adds to a functional model; it takes the same arguments."""

    def call(self, x, boxes):
        """Computes the responses."""
        return _compute(
            x,
            boxes,
            self.strides,
            self.normalization,
            self.data_format,
            self.implementation,
            self.name,
        )

    def compute_output_spec(self, x, boxes):
        """Returns the shape and dtype of the responses as a `KerasTensor`."""
        x, boxes = as_tensor_like(x), as_tensor_like(boxes, "float32")
        check_images(x)
        check_boxes(boxes, x, self.data_format)
        channels, multiplier, _ = boxes.shape
        known = x.shape[channel_axis(self.data_format)]
        channels = channels if known is None else known
        channels = None if None in (channels, multiplier) else channels * multiplier
        shape = strided_shape(x.shape, self.strides, channels, self.data_format)
        return keras.KerasTensor(shape, dtype_name(x))
