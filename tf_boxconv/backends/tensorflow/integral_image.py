"""`integral_image` on TensorFlow, and its gradient."""

from __future__ import annotations

import tensorflow as tf

from tf_boxconv.backends.attributes import layout_of
from tf_boxconv.backends.exporters import called_by_exporter
from tf_boxconv.backends.tensorflow.library import compiled_ops
from tf_boxconv.ops.integral_image_portable import integral_image_portable


def integral_image(x: tf.Tensor, data_format: str, dtype: str) -> tf.Tensor:
    """Computes `tf_boxconv.integral_image` on arguments that are checked already."""
    if not tf.executing_eagerly() and called_by_exporter():
        return integral_image_portable(x, data_format, dtype)
    return compiled_ops.box_conv_integral_image(
        input=x, TTable=tf.as_dtype(dtype), data_format=layout_of(data_format)
    )


@tf.RegisterGradient("BoxConv>IntegralImage")
def _integral_image_gradient(op: tf.Operation, table_grad: tf.Tensor) -> tf.Tensor:
    """Sums the gradient from the bottom right corner.

    Each entry of the table contains all pixels above and to the left of it. So the gradient of a
    pixel is the sum over all entries below and to the right of it.
    """
    data_format = op.get_attr("data_format").decode()
    axes = [1, 2] if data_format == "NHWC" else [2, 3]

    def without_border(table):
        return table[:, 1:, 1:, :] if data_format == "NHWC" else table[:, :, 1:, 1:]

    flipped = tf.reverse(without_border(table_grad), axes)
    sums = compiled_ops.box_conv_integral_image(
        input=flipped, TTable=table_grad.dtype, data_format=data_format
    )
    return tf.cast(tf.reverse(without_border(sums), axes), op.inputs[0].dtype)
