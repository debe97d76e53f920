"""`integral_image`: the summed-area table itself, differentiable."""

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
    """Computes the summed-area table of each plane.

    Entry `(i, j)` is the sum of the plane over rows `< i` and columns `< j`, so that any
    rectangle's sum is a difference of four entries. The compiled operator keeps sums in float64
    and rounds once.

    Args:
        x: Tensor or `KerasTensor` `[N, H, W, C]`, or `[N, C, H, W]` with
            `data_format="channels_first"`; float16, bfloat16, float32 or float64.
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
    dtype = keras.backend.standardize_dtype(dtype)
    if dtype not in ("float32", "float64"):
        raise TypeError(f"`dtype` must be float32 or float64. Received: dtype={dtype}")
    return dtype


def _default_dtype(x) -> str:
    return "float64" if dtype_name(x) == "float64" else "float32"


@keras.saving.register_keras_serializable(package="tf_boxconv")
class IntegralImageOperation(keras.Operation):
    """`integral_image` in a functional model; the arguments are those of the function."""

    def __init__(self, data_format, table_dtype=None, *, name=None):
        super().__init__(name=name)
        self.data_format = data_format
        self.table_dtype = table_dtype

    def call(self, x):
        """Computes the tables."""
        return _compute(x, self.data_format, self.table_dtype, self.name)

    def compute_output_spec(self, x):
        """Checks the argument; returns the shape and dtype of the result."""
        check_images(x)
        first = 1 if self.data_format == "channels_last" else 2
        shape = list(x.shape)
        for axis in (first, first + 1):
            shape[axis] = None if shape[axis] is None else shape[axis] + 1
        return keras.KerasTensor(shape, self.table_dtype or _default_dtype(x))

    def get_config(self):
        """Returns the arguments of the constructor."""
        config = super().get_config()
        return {**config, "data_format": self.data_format, "table_dtype": self.table_dtype}
