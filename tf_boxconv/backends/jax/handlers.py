"""Calls the compiled FFI handlers on one device.

All arrays of a call may have the same additional leading axes. A handler then computes several
independent problems, each with its own boxes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec


@dataclasses.dataclass(frozen=True)
class Options:
    """The attributes of a handler."""

    strides: tuple[int, int]
    normalization: str
    data_format: str

    @property
    def channels_first(self) -> bool:
        """Whether the axis of channels comes before those of rows and columns."""
        return self.data_format == "NCHW"

    def attributes(self) -> dict:
        """Returns the options as attributes of an FFI call."""
        return {**dataclasses.asdict(self), "strides": np.array(self.strides, np.int64)}

    def output_shape(self, x, channels: int) -> tuple[int, ...]:
        """Returns the shape of an output with this number of channels for images `x`."""
        *leading, n, h, w, _ = to_channels_last(x.shape, self.channels_first)
        size = (-(-length // s) for length, s in zip((h, w), self.strides, strict=True))
        return from_channels_last((*leading, n, *size, channels), self.channels_first)


def to_channels_last(axes: Sequence, channels_first: bool) -> tuple:
    """Permutes items, one for each axis of images, to the order [..., N, H, W, C]."""
    *leading, n, a, b, c = axes
    return (*leading, n, b, c, a) if channels_first else (*leading, n, a, b, c)


def from_channels_last(axes: Sequence, channels_first: bool) -> tuple:
    """Permutes items from the order [..., N, H, W, C] to the order of the axes of images."""
    *leading, n, h, w, c = axes
    return (*leading, n, c, h, w) if channels_first else (*leading, n, h, w, c)


def call_forward(options: Options, x, boxes):
    """Returns the output."""
    channels, per_channel, _ = boxes.shape[-3:]
    shape = options.output_shape(x, channels * per_channel)
    call = jax.ffi.ffi_call("tf_boxconv_forward", _like(x, shape))
    return call(x, boxes, **options.attributes())


def call_backward(options: Options, x, boxes, output_grad):
    """Returns `(input_grad, boxes_grad)`."""
    call = jax.ffi.ffi_call("tf_boxconv_backward", (_like(x), _like(boxes)))
    return tuple(call(x, boxes, output_grad, **options.attributes()))


def call_separable_forward(options: Options, x, boxes, kernel, bias):
    """Returns the output of the separable box convolution."""
    shape = options.output_shape(x, kernel.shape[-1])
    call = jax.ffi.ffi_call("tf_boxconv_separable_forward", _like(x, shape))
    return call(x, boxes, kernel, bias, **options.attributes())


def call_separable_backward(options: Options, x, boxes, kernel, output_grad):
    """Returns `(input_grad, boxes_grad, kernel_grad, bias_grad)`."""
    bias_shape = (*kernel.shape[:-2], kernel.shape[-1])
    results = _like(x), _like(boxes), _like(kernel), _like(kernel, bias_shape)
    call = jax.ffi.ffi_call("tf_boxconv_separable_backward", results)
    return tuple(call(x, boxes, kernel, output_grad, **options.attributes()))


def call_integral_image(options: Options, dtype: str, x):
    """Returns the integral image."""
    *leading, n, h, w, c = to_channels_last(x.shape, options.channels_first)
    shape = from_channels_last((*leading, n, h + 1, w + 1, c), options.channels_first)
    call = jax.ffi.ffi_call("tf_boxconv_integral_image", _like(x, shape, dtype))
    return call(x, data_format=options.data_format)


def _like(array, shape=None, dtype=None) -> jax.ShapeDtypeStruct:
    """Returns the type of a result. In a `shard_map` it varies over the same devices as `array`."""
    array_type, varied = jax.typeof(array), {}
    if _varying(array):
        varied["manual_axis_type"] = array_type.manual_axis_type
        varied["sharding"] = NamedSharding(array_type.sharding.mesh, PartitionSpec())
    return jax.ShapeDtypeStruct(
        array.shape if shape is None else shape, dtype or array.dtype, **varied
    )


def _varying(array) -> frozenset[str]:
    """Returns the mesh axes over which an array varies in a `shard_map`."""
    axis_type = getattr(jax.typeof(array), "manual_axis_type", None)  # New in JAX 0.10.
    return frozenset(axis_type.varying) if axis_type else frozenset()


def vary_equally(*arrays) -> list[jax.Array]:
    """Marks all arrays in a `shard_map` as varying over all mesh axes that any of them varies over.

    If an array is the same on several devices, its gradient is then summed over them.
    """
    axes = frozenset().union(*(_varying(array) for array in arrays))
    return [
        jax.lax.pcast(array, tuple(missing), to="varying")
        if (missing := axes - _varying(array))
        else array
        for array in arrays
    ]
