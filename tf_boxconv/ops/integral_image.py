"""`integral_image`: the summed-area table itself, differentiable."""

from __future__ import annotations

import keras

from tf_boxconv import backends
from tf_boxconv.ops import stock_ops_scope
from tf_boxconv.ops.arguments import convert_images, dtype_name, standardize_data_format
from tf_boxconv.ops.integral_image_cumsum import integral_image_cumsum


def integral_image(x, data_format: str | None = None, dtype=None, name: str | None = None):
    """Computes the summed-area table of each plane.

    Entry `(i, j)` is the sum of the plane over rows `< i` and columns `< j`, so that any
    rectangle's sum is a difference of four entries. The compiled operator keeps sums in float64
    and rounds once.

    Args:
        x: Tensor `[N, H, W, C]`, or `[N, C, H, W]` with `data_format="channels_first"`; float16,
            bfloat16, float32 or float64.
        data_format: `"channels_last"` or `"channels_first"`; `None` takes Keras's default.
        dtype: The table's dtype, `"float32"` or `"float64"`. `None` takes `"float64"` for float64
            images and `"float32"` for others: a half type overflows on its first bright rows. On
            large planes ask for `"float64"`, or differences of entries lose small rectangles to
            rounding. JAX needs `jax_enable_x64` for it.
        name: A name for the operation.

    Returns:
        Tensor of `dtype`, `[N, H + 1, W + 1, C]` or `[N, C, H + 1, W + 1]`, of Keras's backend.

    Raises:
        ValueError: for a wrong rank or option.
        TypeError: for a dtype not named above.
    """
    data_format = standardize_data_format(data_format)
    with keras.name_scope(name or "integral_image"):
        x = convert_images(x)
        if dtype is None:
            dtype = "float64" if dtype_name(x) == "float64" else "float32"
        dtype = keras.backend.standardize_dtype(dtype)
        if dtype not in ("float32", "float64"):
            raise TypeError(f"`dtype` must be float32 or float64. Received: dtype={dtype}")
        if backends.native is None or stock_ops_scope.is_active():
            return integral_image_cumsum(x, data_format, dtype)
        return backends.native.integral_image(x, data_format, dtype)
