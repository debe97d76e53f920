"""Partitions the compiled calls over devices.

Images, channels and leading axes may be sharded. Each plane stays on one device. The devices
communicate only to sum the gradients of boxes over images.

In the separable box convolution, each output depends on all channels. So channels are not sharded
there, and the gradients of the kernel and of the bias are summed over images, too.
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
    call_integral_image,
    call_separable_backward,
    call_separable_forward,
    from_channels_last,
    to_channels_last,
)


class _Shards:
    """The mesh axes over which the images, channels and leading axes of `x` are sharded.

    An axis whose length is not a multiple of the number of devices is not sharded. Channels are
    not sharded if `channels` is False.
    """

    def __init__(self, options: Options, mesh, x, channels: bool = True):
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
        if not channels:
            self.channels = None

    def of_images(self) -> NamedSharding:
        axes = (*self.leading, self.images, None, None, self.channels)
        return self._sharding(from_channels_last(axes, self._options.channels_first))

    def of_boxes(self) -> NamedSharding:
        return self._sharding((*self.leading, self.channels, None, None))

    def of_kernel(self) -> NamedSharding:
        return self._sharding((*self.leading, None, None))

    def of_bias(self) -> NamedSharding:
        return self._sharding((*self.leading, None))

    def _sharding(self, axes) -> NamedSharding:
        return NamedSharding(self._mesh, PartitionSpec(*axes))


def _devices(mesh, name) -> int:
    names = () if name is None else name if isinstance(name, tuple) else (name,)
    return math.prod(mesh.shape[n] for n in names)


def without_explicit_axes(
    function: Callable, options: Options, x, channels: bool = True
) -> Callable:
    """Makes `function` work on a mesh with explicit axes (`AxisType.Explicit`).

    On such a mesh, the type of an array includes its sharding, which FFI calls do not support. So
    the compiler chooses the sharding inside `function`. The result is sharded like `x`, apart from
    its channels if `channels` is False. On other meshes, `function` is returned unchanged.
    """
    mesh = jax.typeof(x).sharding.mesh
    if mesh.empty or AxisType.Explicit not in mesh.axis_types:
        return function
    out_sharding = _Shards(options, mesh, jax.typeof(x), channels).of_images().spec
    return jax.sharding.auto_axes(function, out_sharding=out_sharding)


# Rules for Shardy, such as "n h w c, c m e -> n i j (c m)". Axes with the same letter are sharded
# in the same way: n images, h w rows and columns of the input, i j of the output, c channels,
# m boxes of a channel, e edges of a box, l0 l1 ... leading axes; in the separable box convolution,
# k rows of the kernel and f filters.

# Axes that are never sharded, in the order in which rules name them.
_REPLICATED = ("h", "w", "m", "e", "i", "j")


def _leading_axes(images_type) -> list[str]:
    return [f"l{i}" for i in range(images_type.rank - 4)]


def _images_axes(options: Options, images_type, output_channels: str) -> list[str]:
    """Returns the axes of inputs and of outputs, as parts of a rule."""
    leading = _leading_axes(images_type)
    inputs_and_outputs = (*leading, "n", "h", "w", "c"), (*leading, "n", "i", "j", output_channels)
    return [
        " ".join(from_channels_last(axes, options.channels_first)) for axes in inputs_and_outputs
    ]


def _box_conv_axes(options: Options, images_type, boxes_type) -> list[str]:
    """Returns the axes of inputs, outputs and boxes, as parts of a rule."""
    *_, channels, multiplier, _ = boxes_type.shape
    # Shardy does not accept products with a factor of size 1.
    product = "c" if multiplier == 1 else "m" if channels == 1 else "(c m)"
    boxes = " ".join((*_leading_axes(images_type), "c", "m", "e"))
    return [*_images_axes(options, images_type, product), boxes]


def _forward_rule(options: Options, mesh, operands, results):
    images, outputs, boxes = _box_conv_axes(options, *operands)
    return f"{images}, {boxes} -> {outputs}", {"need_replication_factors": _REPLICATED}


def _backward_rule(options: Options, mesh, operands, results):
    images, outputs, boxes = _box_conv_axes(options, *operands[:2])
    rule = f"{images}, {boxes}, {outputs} -> {images}, {boxes}"
    return rule, {"need_replication_factors": _REPLICATED}


def _separable_axes(options: Options, images_type) -> list[str]:
    """Returns the axes of inputs, outputs, boxes, kernels and biases, as parts of a rule."""
    leading = _leading_axes(images_type)
    parameters = ("c", "m", "e"), ("k", "f"), ("f",)
    return [
        *_images_axes(options, images_type, "f"),
        *(" ".join((*leading, *axes)) for axes in parameters),
    ]


def _separable_replicated(options: Options) -> dict[str, tuple[str, ...]]:
    _, *of_planes = from_channels_last(("n", "h", "w", "c"), options.channels_first)
    return {"need_replication_factors": (*of_planes, "m", "e", "k", "f", "i", "j")}


def _separable_forward_rule(options: Options, mesh, operands, results):
    images, outputs, boxes, kernel, bias = _separable_axes(options, operands[0])
    rule = f"{images}, {boxes}, {kernel}, {bias} -> {outputs}"
    return rule, _separable_replicated(options)


def _separable_backward_rule(options: Options, mesh, operands, results):
    images, outputs, boxes, kernel, bias = _separable_axes(options, operands[0])
    rule = f"{images}, {boxes}, {kernel}, {outputs} -> {images}, {boxes}, {kernel}, {bias}"
    return rule, _separable_replicated(options)


def _integral_image_rule(options: Options, dtype: str, mesh, operands, results):
    images, tables = _images_axes(options, operands[0], "c")
    return f"{images} -> {tables}", {"need_replication_factors": ("h", "w", "i", "j")}


def _partition_forward(options: Options, mesh, arguments, result):
    shards = _Shards(options, mesh, arguments[0])
    local = functools.partial(call_forward, options)
    return mesh, local, shards.of_images(), (shards.of_images(), shards.of_boxes())


def _partition_backward(options: Options, mesh, arguments, results):
    shards = _Shards(options, mesh, arguments[0])

    def local(x, boxes, output_grad):
        input_grad, boxes_grad = call_backward(options, x, boxes, output_grad)
        if shards.images is not None:
            boxes_grad = jax.lax.psum(boxes_grad, shards.images)
        return input_grad, boxes_grad

    of_arguments = (shards.of_images(), shards.of_boxes(), shards.of_images())
    return mesh, local, (shards.of_images(), shards.of_boxes()), of_arguments


def _partition_separable_forward(options: Options, mesh, arguments, result):
    shards = _Shards(options, mesh, arguments[0], channels=False)
    local = functools.partial(call_separable_forward, options)
    images, boxes = shards.of_images(), shards.of_boxes()
    return mesh, local, images, (images, boxes, shards.of_kernel(), shards.of_bias())


def _partition_separable_backward(options: Options, mesh, arguments, results):
    shards = _Shards(options, mesh, arguments[0], channels=False)

    def local(x, boxes, kernel, output_grad):
        input_grad, *others = call_separable_backward(options, x, boxes, kernel, output_grad)
        if shards.images is not None:
            others = jax.lax.psum(others, shards.images)
        return input_grad, *others

    images, boxes, kernel = shards.of_images(), shards.of_boxes(), shards.of_kernel()
    of_results = images, boxes, kernel, shards.of_bias()
    return mesh, local, of_results, (images, boxes, kernel, images)


def _partition_integral_image(options: Options, dtype: str, mesh, arguments, result):
    shards = _Shards(options, mesh, arguments[0])
    local = functools.partial(call_integral_image, options, dtype)
    return mesh, local, shards.of_images(), (shards.of_images(),)


def _partitioned(function: Callable, static_count: int, partition: Callable, rule: Callable):
    """Makes `function` run on shards. Its first `static_count` arguments are not arrays."""
    partitioned = custom_partitioning(function, static_argnums=tuple(range(static_count)))
    partitioned.def_partition(partition=partition, sharding_rule=rule)
    return partitioned


forward = _partitioned(call_forward, 1, _partition_forward, _forward_rule)
backward = _partitioned(call_backward, 1, _partition_backward, _backward_rule)
separable_forward = _partitioned(
    call_separable_forward, 1, _partition_separable_forward, _separable_forward_rule
)
separable_backward = _partitioned(
    call_separable_backward, 1, _partition_separable_backward, _separable_backward_rule
)
integral_image = _partitioned(
    call_integral_image, 2, _partition_integral_image, _integral_image_rule
)
