"""The compiled operators as functions of JAX arrays, without gradients.

A call takes four steps:
1. `custom_vmap` turns axes that `jax.vmap` maps into leading axes.
2. The platform decides: on platforms without a handler, such as TPUs, another function of the same
   arguments runs, mostly the portable path.
3. `sharding.py` divides arrays among devices.
4. `handlers.py` calls the compiled handler, which loops over leading axes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from tf_boxconv.backends.attributes import data_format_of, normalization_of
from tf_boxconv.backends.exporters import called_by_exporter
from tf_boxconv.backends.jax import sharding
from tf_boxconv.backends.jax.handlers import Options
from tf_boxconv.backends.jax.library import NATIVE_PLATFORMS
from tf_boxconv.ops.box_conv_portable import box_conv2d_portable
from tf_boxconv.ops.integral_image_portable import integral_image_portable


def exporting(*arrays) -> bool:
    """Returns whether an exporter traces the caller for a runtime without compiled operators."""
    return any(isinstance(array, jax.core.Tracer) for array in arrays) and called_by_exporter()


def portable_forward(options: Options, x, boxes):
    """Computes `box_conv2d` with the portable path, for arrays without leading axes."""
    return box_conv2d_portable(
        x,
        boxes,
        options.strides,
        normalization_of(options.normalization),
        data_format_of(options.data_format),
    )


def _portable_backward(options: Options, x, boxes, output_grad):
    _, gradients = jax.vjp(functools.partial(portable_forward, options), x, boxes)
    return gradients(output_grad)


def portable_integral_image(options: Options, dtype: str, x):
    """Computes `integral_image` with the portable path, for arrays without leading axes."""
    # Sums are float64 for results in float32, too, unless JAX has disabled 64-bit types.
    sum_dtype = "float64" if jax.config.jax_enable_x64 else "float32"
    table = integral_image_portable(x, data_format_of(options.data_format), sum_dtype)
    return table.astype(dtype)


def operator(native: Callable, other: Callable, platforms: Sequence[str] | None = None) -> Callable:
    """Combines steps 1 and 2 into a compiled function of arrays with equal leading axes.

    Args:
        native: A function of arrays with leading axes, which calls a handler.
        other: The same function of arrays without leading axes, for platforms without the handler.
        platforms: The platforms that may have the handler. None: all.
    """

    def by_platform(*arrays):
        native_platforms = [p for p in NATIVE_PLATFORMS if platforms is None or p in platforms]
        if jax.default_backend() == "cpu" and "cpu" in native_platforms:
            # `platform_dependent` would trace `other`, which no device needs.
            return native(*arrays)
        batched_other = other
        for _ in range(arrays[0].ndim - 4):
            batched_other = jax.vmap(batched_other)
        branches = dict.fromkeys(native_platforms, native)
        return jax.lax.platform_dependent(*arrays, default=batched_other, **branches)

    function = custom_vmap(by_platform)

    @function.def_vmap
    def _rule(size, is_mapped, *arrays):
        # JAX moves mapped axes to the front, where they are leading axes.
        arrays = [
            array if has_axis else jnp.broadcast_to(array, (size, *array.shape))
            for array, has_axis in zip(arrays, is_mapped, strict=True)
        ]
        out = function(*arrays)
        return out, jax.tree.map(lambda _: True, out)

    return jax.jit(function)


@functools.cache
def forward(options: Options) -> Callable:
    """Returns a function of `(x, boxes)` that computes the output."""
    return operator(
        functools.partial(sharding.forward, options), functools.partial(portable_forward, options)
    )


@functools.cache
def backward(options: Options) -> Callable:
    """Returns a function of `(x, boxes, output_grad)` that computes `(input_grad, boxes_grad)`."""
    return operator(
        functools.partial(sharding.backward, options),
        functools.partial(_portable_backward, options),
    )


@functools.cache
def integral_image(options: Options, dtype: str) -> Callable:
    """Returns a function of `(x,)` that computes the integral image.

    Uses only `data_format` of `options`.
    """
    return operator(
        functools.partial(sharding.integral_image, options, dtype),
        functools.partial(portable_integral_image, options, dtype),
    )
