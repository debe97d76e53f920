"""Calls of the compiled handlers on one device.

Arrays may have leading axes before those of images and boxes, the same of all: so many problems are
computed, each with boxes of its own.
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
        """Whether channels come before rows and columns."""
        return self.data_format == "NCHW"

    def attributes(self) -> dict:
        """As the handlers take them."""
        return {**dataclasses.asdict(self), "strides": np.array(self.strides, np.int64)}

    def output_shape(self, x, boxes) -> tuple[int, ...]:
        """The shape of what `x` and `boxes` give."""
        *leading, n, h, w, c = to_channels_last(x.shape, self.channels_first)
        size = (-(-length // s) for length, s in zip((h, w), self.strides, strict=True))
        shape = (*leading, n, *size, c * boxes.shape[-2])
        return from_channels_last(shape, self.channels_first)


def to_channels_last(axes: Sequence, channels_first: bool) -> tuple:
    """What is said of each axis of images, in the order [..., N, H, W, C]."""
    *leading, n, a, b, c = axes
    return (*leading, n, b, c, a) if channels_first else (*leading, n, a, b, c)


def from_channels_last(axes: Sequence, channels_first: bool) -> tuple:
    """What is said of axes [..., N, H, W, C], in the order that images have."""
    *leading, n, h, w, c = axes
    return (*leading, n, c, h, w) if channels_first else (*leading, n, h, w, c)


def call_forward(options: Options, x, boxes):
    """The output."""
    call = jax.ffi.ffi_call("tf_boxconv_forward", _like(x, options.output_shape(x, boxes)))
    return call(x, boxes, **options.attributes())


def call_backward(options: Options, x, boxes, output_grad):
    """The gradients to the input and to the boxes."""
    call = jax.ffi.ffi_call("tf_boxconv_backward", (_like(x), _like(boxes)))
    return tuple(call(x, boxes, output_grad, **options.attributes()))


def call_table(options: Options, dtype: str, x):
    """The summed-area table."""
    *leading, n, h, w, c = to_channels_last(x.shape, options.channels_first)
    shape = from_channels_last((*leading, n, h + 1, w + 1, c), options.channels_first)
    call = jax.ffi.ffi_call("tf_boxconv_integral_image", _like(x, shape, dtype))
    return call(x, data_format=options.data_format)


def _like(array, shape=None, dtype=None) -> jax.ShapeDtypeStruct:
    """What a call returns; in a `shard_map`, varied over devices as `array` is."""
    kind, varied = jax.typeof(array), {}
    if _varying(array):
        varied["manual_axis_type"] = kind.manual_axis_type
        varied["sharding"] = NamedSharding(kind.sharding.mesh, PartitionSpec())
    return jax.ShapeDtypeStruct(
        array.shape if shape is None else shape, dtype or array.dtype, **varied
    )


def _varying(array) -> frozenset[str]:
    kind = getattr(jax.typeof(array), "manual_axis_type", None)  # new in JAX 0.10
    return frozenset(kind.varying) if kind else frozenset()


def equally_varied(*arrays) -> list[jax.Array]:
    """The arrays, each of them regarded as varied over all devices that any is in a `shard_map`.

    Autodiff then sums gradients over those devices for the arrays that were the same on all.
    """
    axes = frozenset().union(*(_varying(array) for array in arrays))
    return [
        jax.lax.pcast(array, tuple(missing), to="varying")
        if (missing := axes - _varying(array))
        else array
        for array in arrays
    ]
