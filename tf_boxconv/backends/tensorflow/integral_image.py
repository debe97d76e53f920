"""The compiled integral image and its gradient."""

from __future__ import annotations

import tensorflow as tf

from tf_boxconv.backends.attributes import layout_of
from tf_boxconv.backends.exporters import called_by_exporter
from tf_boxconv.backends.tensorflow.library import compiled_ops
from tf_boxconv.ops.integral_image_portable import integral_image_portable


def integral_image(x: tf.Tensor, data_format: str, dtype: str) -> tf.Tensor:
    """Computes `tf_boxconv.integral_image` on arguments that it has checked."""
    if not tf.executing_eagerly() and called_by_exporter():
        return integral_image_portable(x, data_format, dtype)
    return compiled_ops.box_conv_integral_image(
        input=x, TTable=tf.as_dtype(dtype), data_format=layout_of(data_format)
    )


@tf.RegisterGradient("BoxConv>IntegralImage")
def _integral_image_gradient(op: tf.Operation, table_grad: tf.Tensor) -> tf.Tensor:
    """Each pixel is in every entry below and to the right of it: sum the table from that corner."""
    data_format = op.get_attr("data_format").decode()
    axes = [1, 2] if data_format == "NHWC" else [2, 3]

    def without_border(table):
        return table[:, 1:, 1:, :] if data_format == "NHWC" else table[:, :, 1:, 1:]

    flipped = tf.reverse(without_border(table_grad), axes)
    sums = compiled_ops.box_conv_integral_image(
        input=flipped, TTable=table_grad.dtype, data_format=data_format
    )
    return tf.cast(tf.reverse(without_border(sums), axes), op.inputs[0].dtype)
