"""How arrays are cut over devices.

Planes are whole on one device; images, channels and leading axes may be cut. Nothing but the sums
of boxes' gradients travels.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import jax
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from tf_boxconv.backends.jax.handlers import (
    Options,
    call_backward,
    call_forward,
    call_table,
    from_channels_last,
    to_channels_last,
)


class _Cut:
    """The mesh axes that images, with their leading axes, and channels are cut over."""

    def __init__(self, options: Options, mesh, x):
        self._options = options
        self._mesh = mesh
        spec = (*x.sharding.spec, *[None] * (x.ndim - len(x.sharding.spec)))
        names = [
            name if length % _devices(mesh, name) == 0 else None
            for name, length in zip(spec, x.shape, strict=True)
        ]
        *self.leading, self.images, _, _, self.channels = to_channels_last(
            names, options.channels_first
        )

    def of_images(self) -> NamedSharding:
        axes = (*self.leading, self.images, None, None, self.channels)
        return self._sharding(from_channels_last(axes, self._options.channels_first))

    def of_boxes(self) -> NamedSharding:
        return self._sharding((*self.leading, self.channels, None, None))

    def _sharding(self, axes) -> NamedSharding:
        return NamedSharding(self._mesh, PartitionSpec(*axes))


def _devices(mesh, name) -> int:
    names = () if name is None else name if isinstance(name, tuple) else (name,)
    return math.prod(mesh.shape[n] for n in names)


def without_explicit_axes(function: Callable, options: Options, x) -> Callable:
    """`function` of images and more, fit for a mesh whose axes are part of arrays' types.

    That is what `jax.set_mesh(jax.make_mesh(...))` makes of arrays. Compiled calls know nothing of
    such types: they are left to the compiler within, and the result is said to be cut as `x` is.
    """
    mesh = jax.typeof(x).sharding.mesh
    if mesh.empty or AxisType.Explicit not in mesh.axis_types:
        return function
    out_sharding = _Cut(options, mesh, jax.typeof(x)).of_images().spec
    return jax.sharding.auto_axes(function, out_sharding=out_sharding)


# What axes have in common, for Shardy. Each letter is a factor of the axes it stands for.

# Factors that no device may have a part of only, in the order in which rules name them.
_WHOLE = ("h", "w", "m", "e", "i", "j")


def _axes_of(options: Options, images_type, *channels: str) -> list[str]:
    """For each kind of channels, the axes of the images that have them."""
    leading = [f"l{i}" for i in range(images_type.rank - 4)]
    names = [(*leading, "n", "h", "w", channels[0])]
    names += [(*leading, "n", "i", "j", channel) for channel in channels[1:]]
    return [" ".join(from_channels_last(axes, options.channels_first)) for axes in names]


def _box_conv_axes(options: Options, images_type, boxes_type) -> list[str]:
    """The axes of images, outputs and boxes."""
    *leading, channels, multiplier, _ = boxes_type.shape
    # Shardy takes no product in which a factor is 1.
    product = "c" if multiplier == 1 else "m" if channels == 1 else "(c m)"
    boxes = " ".join((*(f"l{i}" for i in range(len(leading))), "c", "m", "e"))
    return [*_axes_of(options, images_type, "c", product), boxes]


def _forward_rule(options: Options, mesh, operands, results):
    images, outputs, boxes = _box_conv_axes(options, *operands)
    return f"{images}, {boxes} -> {outputs}", {"need_replication_factors": _WHOLE}


def _backward_rule(options: Options, mesh, operands, results):
    images, outputs, boxes = _box_conv_axes(options, *operands[:2])
    rule = f"{images}, {boxes}, {outputs} -> {images}, {boxes}"
    return rule, {"need_replication_factors": _WHOLE}


def _table_rule(options: Options, dtype: str, mesh, operands, results):
    images, tables = _axes_of(options, operands[0], "c", "c")
    return f"{images} -> {tables}", {"need_replication_factors": ("h", "w", "i", "j")}


def _partition_forward(options: Options, mesh, arguments, result):
    cut = _Cut(options, mesh, arguments[0])
    local = functools.partial(call_forward, options)
    return mesh, local, cut.of_images(), (cut.of_images(), cut.of_boxes())


def _partition_backward(options: Options, mesh, arguments, results):
    cut = _Cut(options, mesh, arguments[0])

    def local(x, boxes, output_grad):
        input_grad, boxes_grad = call_backward(options, x, boxes, output_grad)
        if cut.images is not None:
            boxes_grad = jax.lax.psum(boxes_grad, cut.images)
        return input_grad, boxes_grad

    of_arguments = (cut.of_images(), cut.of_boxes(), cut.of_images())
    return mesh, local, (cut.of_images(), cut.of_boxes()), of_arguments


def _partition_table(options: Options, dtype: str, mesh, arguments, result):
    cut = _Cut(options, mesh, arguments[0])
    local = functools.partial(call_table, options, dtype)
    return mesh, local, cut.of_images(), (cut.of_images(),)


def _partitioned(function: Callable, statics: int, partition: Callable, rule: Callable):
    partitioned = custom_partitioning(function, static_argnums=tuple(range(statics)))
    partitioned.def_partition(partition=partition, sharding_rule=rule)
    return partitioned


forward = _partitioned(call_forward, 1, _partition_forward, _forward_rule)
backward = _partitioned(call_backward, 1, _partition_backward, _backward_rule)
table = _partitioned(call_table, 2, _partition_table, _table_rule)
