"""`integral_image`: the summed-area table itself, differentiable."""

from __future__ import annotations

import tensorflow as tf

from tf_boxconv.ops.arguments import convert_images, standardize_data_format
from tf_boxconv.ops.library import compiled_ops


def integral_image(x, data_format: str | None = None, dtype=None, name: str | None = None):
    """Computes the summed-area table of each plane.

    Entry `(i, j)` is the sum of the plane over rows `< i` and columns `< j`, so that any
    rectangle's sum is a difference of four entries. Sums are kept in float64 and rounded once.

    Args:
        x: Tensor `[N, H, W, C]`, or `[N, C, H, W]` with `data_format="channels_first"`; float16,
            bfloat16, float32 or float64.
        data_format: `"channels_last"` or `"channels_first"`; `None` takes Keras's default.
        dtype: The table's dtype, `float32` or `float64`. `None` takes `float64` for float64 images
            and `float32` for others: a half type overflows on its first bright rows. On large
            planes ask for `float64`, or differences of entries lose small rectangles to rounding.
        name: A name for the operation.

    Returns:
        Tensor of `dtype`, `[N, H + 1, W + 1, C]` or `[N, C, H + 1, W + 1]`.

    Raises:
        ValueError: for a wrong rank or option.
        TypeError: for a dtype not named above.
    """
    data_format = standardize_data_format(data_format)
    with tf.name_scope(name or "integral_image"):
        x = convert_images(x)
        default = tf.float64 if x.dtype == tf.float64 else tf.float32
        dtype = tf.as_dtype(dtype or default)
        if dtype not in (tf.float32, tf.float64):
            raise TypeError(f"`dtype` must be float32 or float64. Received: dtype={dtype.name}")
        return compiled_ops.box_conv_integral_image(
            input=x,
            TTable=dtype,
            data_format="NHWC" if data_format == "channels_last" else "NCHW",
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
