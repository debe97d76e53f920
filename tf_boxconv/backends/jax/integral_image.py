"""`integral_image` on JAX, and its gradient."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from tf_boxconv.backends.attributes import layout_of
from tf_boxconv.backends.jax import calls
from tf_boxconv.backends.jax.forward_mode import forward_mode_advice
from tf_boxconv.backends.jax.handlers import Options
from tf_boxconv.backends.jax.sharding import without_explicit_axes


def integral_image(x: jax.Array, data_format: str, dtype: str) -> jax.Array:
    """Computes `tf_boxconv.integral_image` on arguments that are checked already.

    Raises:
        ValueError: If `dtype` is float64 and JAX has disabled 64-bit types.
    """
    if dtype == "float64" and not jax.config.jax_enable_x64:
        raise ValueError(
            "`dtype` float64 needs jax.config.update('jax_enable_x64', True). "
            f"Received: dtype={dtype}"
        )
    options = Options((1, 1), "none", layout_of(data_format))
    if calls.exporting(x):
        return calls.portable_integral_image(options, dtype, x)
    compute = without_explicit_axes(functools.partial(_integral_image, options, dtype), options, x)
    with forward_mode_advice("apply integral_image, which is linear, to the tangent"):
        return compute(x)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _integral_image(options: Options, dtype: str, x):
    return calls.integral_image(options, dtype)(x)


def _integral_image_forward(options: Options, dtype: str, x):
    # The gradient needs the dtype of `x`. Residuals must be arrays, so a scalar has this dtype.
    return _integral_image(options, dtype, x), jnp.zeros((), x.dtype)


def _integral_image_gradient(options: Options, dtype: str, scalar, table_grad):
    """Sums the gradient from the bottom right corner.

    Each entry of the table contains all pixels above and to the left of it. So the gradient of a
    pixel is the sum over all entries below and to the right of it.
    """
    axes = (2, 3) if options.channels_first else (1, 2)
    inner = tuple(slice(1, None) if axis in axes else slice(None) for axis in range(4))
    sums = _integral_image(options, dtype, jnp.flip(table_grad[inner], axes))
    return (jnp.flip(sums[inner], axes).astype(scalar.dtype),)


_integral_image.defvjp(_integral_image_forward, _integral_image_gradient)
