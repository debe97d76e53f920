"""`box_conv2d`: the operator, by the compiled op or in portable form."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from tf_boxconv import backends
from tf_boxconv.ops.arguments import (
    as_tensor_like,
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
        x: Tensor or `KerasTensor` `[N, H, W, C]`, or `[N, C, H, W]` with
            `data_format="channels_first"`; float16, bfloat16, float32 or float64. Any size may be
            0, and in a `KerasTensor` None.
        boxes: Tensor or `KerasTensor` `[C, M, 4]`: for each channel `M` boxes
            `(y_min, x_min, y_max, x_max)` in pixels, relative to the centre of the output pixel.
            float64 if `x` is, else float32. A layer is the way to boxes that a model trains and
            saves: like the operations of `keras.ops`, this one owns no weights.
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
class BoxConv2DOperation(keras.Operation):
    """`box_conv2d` in a functional model: what a call on a `KerasTensor` adds to the model.

    Like the operations of `keras.ops` it owns no weights. The arguments are those of `box_conv2d`.
    """

    def __init__(self, strides, normalization, data_format, implementation, *, name=None):
        super().__init__(name=name)
        self.strides = standardize_strides(strides)
        self.normalization = normalization
        self.data_format = data_format
        self.implementation = implementation

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
        """Checks the arguments; returns the shape and dtype of the result."""
        x, boxes = as_tensor_like(x), as_tensor_like(boxes, "float32")
        check_images(x)
        check_boxes(boxes, x, self.data_format)
        channel_axis = 3 if self.data_format == "channels_last" else 1
        channels, multiplier, _ = boxes.shape
        channels = channels if x.shape[channel_axis] is None else x.shape[channel_axis]
        channels = None if None in (channels, multiplier) else channels * multiplier
        shape = strided_shape(x.shape, self.strides, channels, self.data_format)
        return keras.KerasTensor(shape, dtype_name(x))

    def get_config(self):
        """Returns the arguments of the constructor."""
        return {
            **super().get_config(),
            "strides": self.strides,
            "normalization": self.normalization,
            "data_format": self.data_format,
            "implementation": self.implementation,
        }
