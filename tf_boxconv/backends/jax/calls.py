"""The compiled operators as functions of JAX arrays, without gradients.

An operator has four layers, the outermost first:
- `custom_vmap`: axes that `jax.vmap` maps become leading axes;
- the choice by platform: the portable form where there is no handler (TPU);
- how arrays are cut over devices (`sharding.py`);
- the call of the handler, which loops over leading axes (`handlers.py`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable

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
    """Whether the caller is traced for a runtime that lacks the compiled operators."""
    return any(isinstance(array, jax.core.Tracer) for array in arrays) and called_by_exporter()


def portable_forward(options: Options, x, boxes):
    """The operator in portable form, for arrays without leading axes."""
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


def portable_table(options: Options, dtype: str, x):
    """The summed-area table in portable form, for arrays without leading axes."""
    # Without 64-bit types there are no wider sums than the table's own.
    wide = "float64" if jax.config.jax_enable_x64 else "float32"
    table = integral_image_portable(x, data_format_of(options.data_format), wide)
    return table.astype(dtype)


# The choice by platform, and vmap. A mapped axis becomes the first of the leading axes.


def _call(native: Callable, portable: Callable) -> Callable:
    """A function of arrays with equal leading axes; `portable` maps over these by itself.

    It is compiled, so that it is traced once for each kind of arguments.
    """

    def by_platform(*arrays):
        if jax.default_backend() == "cpu" and "cpu" in NATIVE_PLATFORMS:
            # The choice would trace both; there is no other device that could take the other one.
            return native(*arrays)
        mapped = portable
        for _ in range(arrays[0].ndim - 4):
            mapped = jax.vmap(mapped)
        branches = dict.fromkeys(NATIVE_PLATFORMS, native)
        return jax.lax.platform_dependent(*arrays, default=mapped, **branches)

    function = custom_vmap(by_platform)

    @function.def_vmap
    def _rule(size, is_mapped, *arrays):
        arrays = [
            array if has_axis else jnp.broadcast_to(array, (size, *array.shape))
            for array, has_axis in zip(arrays, is_mapped, strict=True)
        ]
        out = function(*arrays)
        return out, jax.tree.map(lambda _: True, out)

    return jax.jit(function)


def _bound(function: Callable, *statics) -> Callable:
    return lambda *arrays: function(*statics, *arrays)


@functools.cache
def forward(options: Options) -> Callable:
    """A function of `(x, boxes)` that returns the output."""
    return _call(_bound(sharding.forward, options), _bound(portable_forward, options))


@functools.cache
def backward(options: Options) -> Callable:
    """A function of `(x, boxes, output_grad)` that returns `(input_grad, boxes_grad)`."""
    return _call(_bound(sharding.backward, options), _bound(_portable_backward, options))


@functools.cache
def table(options: Options, dtype: str) -> Callable:
    """A function of `(x,)` that returns the summed-area table. Only `data_format` counts."""
    statics = (options, dtype)
    return _call(_bound(sharding.table, *statics), _bound(portable_table, *statics))
