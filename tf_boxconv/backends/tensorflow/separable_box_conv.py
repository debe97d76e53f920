"""`separable_box_conv2d` on TensorFlow, with gradients of first and second order.

The custom ops have kernels for the CPU only. On a machine with a GPU and kernels of `box_conv2d`
for it, the function is a composition: `box_conv2d`, then a matrix product. A graph made elsewhere
still runs there: TensorFlow places the custom ops on the CPU.

Small planes are composed too. Their responses stay in the cache anyway, and the gradient of a
composition need not compute them again.
"""

from __future__ import annotations

import tensorflow as tf

from tf_boxconv.backends.attributes import layout_of, normalization_attribute
from tf_boxconv.backends.exporters import called_by_exporter
from tf_boxconv.backends.library import build_info
from tf_boxconv.backends.tensorflow.box_conv import attributes_of, box_conv2d, options_of
from tf_boxconv.backends.tensorflow.library import compiled_ops
from tf_boxconv.ops.separable_box_conv_portable import separable_box_conv2d_portable

_HAS_CUDA_KERNELS = build_info()["cuda"] is not None
# Planes of fewer pixels are composed. docs/notes/cpu_kernels.md shows the measurement.
MIN_PIXELS = 32 * 32


def separable_box_conv2d(
    x: tf.Tensor,
    boxes: tf.Tensor,
    kernel: tf.Tensor,
    bias: tf.Tensor | None,
    strides: tuple[int, int],
    normalization: str | None,
    data_format: str,
) -> tf.Tensor:
    """Computes `tf_boxconv.separable_box_conv2d` on arguments that are checked already."""
    options = (strides, normalization, data_format)
    exporting = not tf.executing_eagerly() and called_by_exporter()
    if exporting or _runs_on_gpu() or _has_small_planes(x, data_format):
        return _composition(x, boxes, kernel, bias, *options)
    if bias is None:
        bias = tf.zeros(tf.shape(kernel)[1:], kernel.dtype)
    return compiled_ops.box_conv_separable_box_conv2d(
        input=x,
        boxes=boxes,
        kernel=kernel,
        bias=bias,
        strides=strides,
        normalization=normalization_attribute(normalization),
        data_format=layout_of(data_format),
    )


def _runs_on_gpu() -> bool:
    """Returns whether TensorFlow would run `box_conv2d` on a GPU."""
    return _HAS_CUDA_KERNELS and bool(tf.config.get_visible_devices("GPU"))


def _has_small_planes(x: tf.Tensor, data_format: str) -> bool:
    """Returns whether planes have few pixels. If their size is not known yet, they have not."""
    height, width = x.shape[1:3] if data_format == "channels_last" else x.shape[2:4]
    return height is not None and width is not None and height * width < MIN_PIXELS


def _composition(x, boxes, kernel, bias, *options) -> tf.Tensor:
    return separable_box_conv2d_portable(x, boxes, kernel, bias, *options, run_box_conv=box_conv2d)


@tf.RegisterGradient("BoxConv>SeparableBoxConv2D")
def _gradient(op: tf.Operation, output_grad: tf.Tensor) -> list[tf.Tensor]:
    x, boxes, kernel, _ = op.inputs
    return list(
        compiled_ops.box_conv_separable_box_conv2d_grad(
            input=x, boxes=boxes, kernel=kernel, output_grad=output_grad, **attributes_of(op)
        )
    )


@tf.RegisterGradient("BoxConv>SeparableBoxConv2DGrad")
def _second_gradient(op: tf.Operation, *of_gradients: tf.Tensor | None) -> list[tf.Tensor]:
    """Differentiates the gradients of the composition, whose ops have second-order gradients.

    If nothing depends on one of the four gradients, TensorFlow passes zeros or None for it.
    """
    options = options_of(attributes_of(op))
    compute = _eagerly if tf.executing_eagerly() else _in_graph
    return compute(list(op.inputs), list(of_gradients), *options)


def _in_graph(inputs, of_gradients, *options) -> list[tf.Tensor]:
    # `tf.gradients` and not `tf.GradientTape`, which TensorFlow pauses in forward mode.
    inputs = [tf.identity(tensor) for tensor in inputs]
    x, boxes, kernel, output_grad = inputs
    bias = tf.zeros(tf.shape(kernel)[1:], kernel.dtype)
    out = _composition(x, boxes, kernel, bias, *options)
    gradients = tf.gradients(out, [x, boxes, kernel, bias], output_grad)
    pairs = [(a, b) for a, b in zip(gradients, of_gradients, strict=True) if b is not None]
    gradients, of_gradients = zip(*pairs, strict=True)
    return tf.gradients(gradients, inputs, of_gradients, unconnected_gradients="zero")


_eagerly = tf.function(_in_graph, autograph=False, reduce_retracing=True)
