"""`box_conv2d` on TensorFlow, with gradients of first and second order.

The output `B(boxes) x` is linear in `x`. For an upstream gradient `g`, the gradient op returns
`B(boxes)^T g` and the gradients of the boxes, which are bilinear in `x` and `g`. The gradient of
`B(boxes)^T g` uses the two custom ops again. The gradient of the boxes' gradients, which is rarely
needed, uses the portable path.
"""

from __future__ import annotations

import tensorflow as tf

from tf_boxconv.backends.attributes import (
    data_format_of,
    layout_of,
    normalization_attribute,
    normalization_of,
)
from tf_boxconv.backends.exporters import called_by_exporter
from tf_boxconv.backends.tensorflow.library import compiled_ops
from tf_boxconv.ops.box_conv_portable import box_conv2d_portable, coverage_matrices


def box_conv2d(
    x: tf.Tensor,
    boxes: tf.Tensor,
    strides: tuple[int, int],
    normalization: str | None,
    data_format: str,
) -> tf.Tensor:
    """Computes `tf_boxconv.box_conv2d` on arguments that are checked already."""
    if not tf.executing_eagerly() and called_by_exporter():
        return _box_conv2d_for_export(x, boxes, strides, normalization, data_format)
    return compiled_ops.box_conv_box_conv2d(
        input=x,
        boxes=boxes,
        strides=strides,
        normalization=normalization_attribute(normalization),
        data_format=layout_of(data_format),
    )


def _box_conv2d_for_export(x, boxes, strides, normalization, data_format) -> tf.Tensor:
    """Uses the portable path, with constant matrices if the boxes and the size are constant."""
    options = (strides, normalization)
    matrices, values = None, tf.get_static_value(boxes)
    size = x.shape[1:3] if data_format == "channels_last" else x.shape[2:4]
    if values is not None and size.is_fully_defined():
        with tf.init_scope():
            matrices = coverage_matrices(tf.constant(values), size.as_list(), *options)
            matrices = [matrix.numpy() for matrix in matrices]
    return box_conv2d_portable(x, boxes, *options, data_format, matrices)


def attributes_of(op: tf.Operation) -> dict:
    """Returns the attributes of a custom op except its types, to pass them to another op."""
    return {name: op.get_attr(name) for name in ("strides", "normalization", "data_format")}


def options_of(attributes: dict) -> tuple[tuple[int, int], str | None, str]:
    """Returns `(strides, normalization, data_format)` of the Python functions."""
    return (
        tuple(int(s) for s in attributes["strides"]),
        normalization_of(_text(attributes["normalization"])),
        data_format_of(_text(attributes["data_format"])),
    )


@tf.RegisterGradient("BoxConv>BoxConv2D")
def _box_conv2d_gradient(op: tf.Operation, output_grad: tf.Tensor) -> list[tf.Tensor]:
    x, boxes = op.inputs
    return list(
        compiled_ops.box_conv_box_conv2d_grad(
            input=x, boxes=boxes, output_grad=output_grad, **attributes_of(op)
        )
    )


@tf.RegisterGradient("BoxConv>BoxConv2DGrad")
def _box_conv2d_second_gradient(
    op: tf.Operation, of_input_grad: tf.Tensor | None, of_boxes_grad: tf.Tensor | None
) -> list[tf.Tensor | None]:
    """Back-propagates through `(input_grad, boxes_grad)` to `(input, boxes, output_grad)`.

    If nothing depends on `input_grad` or `boxes_grad`, TensorFlow passes zeros or None for it. None
    occurs when TensorFlow traces a function whose outputs are partly unused, as
    `tf.autodiff.ForwardAccumulator` does.
    """
    x, boxes, output_grad = op.inputs
    attributes = attributes_of(op)
    to_x = to_boxes = to_output_grad = None
    if of_input_grad is not None:
        # <of_input_grad, B^T g> = <B of_input_grad, g>: the gradients of the forward op, with
        # `of_input_grad` instead of the image.
        to_output_grad = compiled_ops.box_conv_box_conv2d(
            input=of_input_grad, boxes=boxes, **attributes
        )
        _, to_boxes = compiled_ops.box_conv_box_conv2d_grad(
            input=of_input_grad, boxes=boxes, output_grad=output_grad, **attributes
        )
    if of_boxes_grad is not None:
        to_x, more_to_boxes, more_to_output_grad = _through_boxes_grad(
            x, boxes, output_grad, of_boxes_grad, attributes
        )
        to_boxes = _add(to_boxes, more_to_boxes)
        to_output_grad = _add(to_output_grad, more_to_output_grad)
    return [to_x, to_boxes, to_output_grad]


def _add(a: tf.Tensor | None, b: tf.Tensor) -> tf.Tensor:
    return b if a is None else a + b


def _through_boxes_grad(x, boxes, output_grad, of_boxes_grad, attributes) -> list[tf.Tensor]:
    """Returns the gradients of `<of_boxes_grad, boxes_grad>` to `(x, boxes, output_grad)`.

    `of_boxes_grad` is nearly always zero. The result is then zeros, without any computation.
    """
    options = options_of(attributes)
    compute = _portable_eagerly if tf.executing_eagerly() else _portable_in_graph
    return tf.cond(
        tf.reduce_any(of_boxes_grad != 0),
        lambda: compute(x, boxes, output_grad, of_boxes_grad, *options),
        lambda: [tf.zeros_like(x), tf.zeros_like(boxes), tf.zeros_like(output_grad)],
    )


def _portable_in_graph(x, boxes, output_grad, of_boxes_grad, *options) -> list[tf.Tensor]:
    # `tf.gradients` and not `tf.GradientTape`, which TensorFlow pauses in forward mode.
    inputs = [tf.identity(tensor) for tensor in (x, boxes, output_grad)]
    x, boxes, output_grad = inputs
    out = box_conv2d_portable(x, boxes, *options)
    (boxes_grad,) = tf.gradients(out, boxes, output_grad)
    return tf.gradients(boxes_grad, inputs, of_boxes_grad, unconnected_gradients="zero")


_portable_eagerly = tf.function(_portable_in_graph, autograph=False, reduce_retracing=True)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
