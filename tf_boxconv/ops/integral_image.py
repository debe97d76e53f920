"""`integral_image`: checks its arguments, then runs the compiled operator or the portable path."""

from __future__ import annotations

import keras

from tf_boxconv import backends
from tf_boxconv.ops.arguments import (
    check_images,
    convert_images,
    dtype_name,
    is_symbolic,
    standardize_data_format,
)
from tf_boxconv.ops.integral_image_portable import integral_image_portable


def integral_image(x, data_format: str | None = None, dtype=None, name: str | None = None):
    """Computes the integral image, or summed-area table, of each channel of `x`.

    Entry `(i, j)` is the sum of `x` over rows `< i` and columns `< j`. The sum over any rectangle
    is then a difference of four entries:

        x[y0:y1, x0:x1].sum() = s[y1, x1] - s[y0, x1] - s[y1, x0] + s[y0, x0]

    The compiled operator adds in float64 and rounds each entry once. The result is differentiable.

    Args:
        x: Tensor or `KerasTensor` with shape `[N, H, W, C]`, or `[N, C, H, W]` if
            `data_format="channels_first"`; float16, bfloat16, float32 or float64.
        data_format: `"channels_last"` or `"channels_first"`. `None` uses
            `keras.config.image_data_format()`.
        dtype: The dtype of the table, `"float32"` or `"float64"`. `None` uses `"float64"` if `x`
            is float64, and `"float32"` otherwise. Half types are not offered because the sums
            overflow. Use `"float64"` for large planes: in float32, differences of large entries
            lose the sums of small rectangles to rounding. JAX needs `jax_enable_x64` for float64.
        name: Optional name for the operation.

    Returns:
        Tensor of dtype `dtype` with shape `[N, H + 1, W + 1, C]`, or `[N, C, H + 1, W + 1]` if
        `data_format="channels_first"`.

    Raises:
        ValueError: If `x` has a wrong rank, or for an invalid option.
        TypeError: If `x` or `dtype` have a dtype that is not listed above.

    Example:
    >>> x = keras.ops.ones((1, 4, 6, 1))
    >>> table = tf_boxconv.integral_image(x)
    >>> tuple(table.shape)
    (1, 5, 7, 1)
    >>> float(table[0, -1, -1, 0])
    24.0

    Reference:

    - Crow, "Summed-area tables for texture mapping" (SIGGRAPH 1984)
    """
    data_format = standardize_data_format(data_format)
    dtype = _standardize_dtype(dtype)
    if is_symbolic(x):
        return IntegralImageOperation(data_format, dtype, name=name).symbolic_call(x)
    return _compute(x, data_format, dtype, name)


def _compute(x, data_format, dtype, name):
    with keras.name_scope(name or "integral_image"):
        x = convert_images(x)
        dtype = dtype or _default_dtype(x)
        native = backends.native
        run = integral_image_portable if native is None else native.integral_image
        return run(x, data_format, dtype)


def _standardize_dtype(dtype) -> str | None:
    if dtype is None:
        return None
    try:
        standard = keras.backend.standardize_dtype(dtype)
    except ValueError:
        standard = None
    if standard not in ("float32", "float64"):
        raise TypeError(f"`dtype` must be float32 or float64. Received: dtype={dtype!r}")
    return standard


def _default_dtype(x) -> str:
    return "float64" if dtype_name(x) == "float64" else "float32"


@keras.saving.register_keras_serializable(package="tf_boxconv")
class IntegralImageOperation(keras.Operation):
    """The node that `integral_image` adds to a functional model; it takes the same arguments."""

    def __init__(self, data_format, table_dtype=None, *, name=None):
        super().__init__(name=name)
        self.data_format = data_format
        self.table_dtype = table_dtype

    def call(self, x):
        """Computes the tables."""
        return _compute(x, self.data_format, self.table_dtype, self.name)

    def compute_output_spec(self, x):
        """Returns the shape and dtype of the tables as a `KerasTensor`."""
        check_images(x)
        first = 1 if self.data_format == "channels_last" else 2
        shape = list(x.shape)
        for axis in (first, first + 1):
            shape[axis] = None if shape[axis] is None else shape[axis] + 1
        return keras.KerasTensor(shape, self.table_dtype or _default_dtype(x))

    def get_config(self):
        """Returns the config of the operation."""
        config = super().get_config()
        return {**config, "data_format": self.data_format, "table_dtype": self.table_dtype}
