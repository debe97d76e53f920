"""The compiled operators as functions of JAX arrays, without gradients.

Arrays may have leading axes before those of images and boxes, the same of all: so many problems
are computed, each with boxes of its own. An operator has four layers, the outermost first:
- `custom_vmap`: axes that `jax.vmap` maps become leading axes;
- the choice by platform: stock operations where there is no handler (TPU);
- `custom_partitioning`: how arrays are cut over devices. Images and channels stay where they are;
- the call of the handler, which loops over leading axes.
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding, PartitionSpec

LIBRARY = Path(__file__).resolve().parents[1] / "lib" / "libtf_boxconv_core.so"
_TARGETS = ("forward", "backward", "integral_image")
# The library's name for a platform, and JAX's.
_PLATFORMS = {"host": "cpu", "cuda": "cuda"}


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
        *leading, n, h, w, c = _to_channels_last(x.shape, self.channels_first)
        size = (-(-length // s) for length, s in zip((h, w), self.strides, strict=True))
        shape = (*leading, n, *size, c * boxes.shape[-2])
        return _from_channels_last(shape, self.channels_first)


def _to_channels_last(axes: Sequence, channels_first: bool) -> tuple:
    """What is said of each axis of images, in the order [..., N, H, W, C]."""
    *leading, n, a, b, c = axes
    return (*leading, n, b, c, a) if channels_first else (*leading, n, a, b, c)


def _from_channels_last(axes: Sequence, channels_first: bool) -> tuple:
    *leading, n, h, w, c = axes
    return (*leading, n, c, h, w) if channels_first else (*leading, n, h, w, c)


# The library.


def _load_library() -> ctypes.CDLL:
    if not LIBRARY.exists():
        raise ImportError(
            f"tf_boxconv's compiled library is missing: {LIBRARY} does not exist. In a checkout "
            "run `pip install -e .`; else run `pip install --force-reinstall --no-deps tf_boxconv` "
            "with JAX installed."
        )
    library = ctypes.CDLL(str(LIBRARY))
    if not hasattr(library, "tf_boxconv_forward_host"):
        raise ImportError(
            f"{LIBRARY} was built without JAX. Build it again with JAX installed: run `pip install "
            "-e .` in a checkout, else `pip install --force-reinstall --no-deps --no-cache-dir "
            "tf_boxconv`."
        )
    return library


def _register_handlers(library: ctypes.CDLL) -> list[str]:
    """Makes XLA know the handlers; returns the platforms that they are for."""
    platforms = []
    for suffix, platform in _PLATFORMS.items():
        if not hasattr(library, f"tf_boxconv_forward_{suffix}"):
            continue
        for target in _TARGETS:
            handler = jax.ffi.pycapsule(getattr(library, f"tf_boxconv_{target}_{suffix}"))
            name = "CUDA" if platform == "cuda" else platform
            jax.ffi.register_ffi_target(f"tf_boxconv_{target}", handler, platform=name)
        platforms.append(platform)
    return platforms


_NATIVE_PLATFORMS = _register_handlers(_load_library())


# What one device computes. Arrays may have leading axes, the same of all.


def _local_forward(options: Options, x, boxes):
    call = jax.ffi.ffi_call("tf_boxconv_forward", _like(x, options.output_shape(x, boxes)))
    return call(x, boxes, **options.attributes())


def _local_backward(options: Options, x, boxes, output_grad):
    call = jax.ffi.ffi_call("tf_boxconv_backward", (_like(x), _like(boxes)))
    return tuple(call(x, boxes, output_grad, **options.attributes()))


def _local_table(options: Options, dtype: str, x):
    *leading, n, h, w, c = _to_channels_last(x.shape, options.channels_first)
    shape = _from_channels_last((*leading, n, h + 1, w + 1, c), options.channels_first)
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


# The same by stock operations.


def portable_forward(options: Options, x, boxes):
    """The operator by stock operations, for arrays without leading axes."""
    # Here, because it brings Keras along.
    from tf_boxconv.ops.box_conv_overlap import box_conv2d_overlap

    return box_conv2d_overlap(
        x,
        boxes,
        options.strides,
        None if options.normalization == "none" else options.normalization,
        "channels_first" if options.channels_first else "channels_last",
    )


def _portable_backward(options: Options, x, boxes, output_grad):
    _, gradients = jax.vjp(functools.partial(portable_forward, options), x, boxes)
    return gradients(output_grad)


def _portable_table(options: Options, dtype: str, x):
    # Without 64-bit types there are no wider sums than the table's own.
    wide = "float64" if jax.config.jax_enable_x64 else "float32"
    axes = (-2, -1) if options.channels_first else (-3, -2)
    padding = [(int(i - x.ndim in axes), 0) for i in range(x.ndim)]
    table = jnp.pad(x.astype(wide), padding)
    for axis in axes:
        table = jnp.cumsum(table, axis)
    return table.astype(dtype)


# Sharding. Planes are whole on a device; images, channels and leading axes may be cut.


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
        *self.leading, self.images, _, _, self.channels = _to_channels_last(
            names, options.channels_first
        )

    def of_images(self) -> NamedSharding:
        axes = (*self.leading, self.images, None, None, self.channels)
        return self._sharding(_from_channels_last(axes, self._options.channels_first))

    def of_boxes(self) -> NamedSharding:
        return self._sharding((*self.leading, self.channels, None, None))

    def _sharding(self, axes) -> NamedSharding:
        return NamedSharding(self._mesh, PartitionSpec(*axes))


def _devices(mesh, name) -> int:
    names = () if name is None else name if isinstance(name, tuple) else (name,)
    return math.prod(mesh.shape[n] for n in names)


# What axes have in common, for Shardy. Each letter is a factor of the axes it stands for.

# Factors that no device may have a part of only, in the order in which rules name them.
_WHOLE = ("h", "w", "m", "e", "i", "j")


def _axes_of(options: Options, images_type, *channels: str) -> list[str]:
    """For each kind of channels, the axes of the images that have them."""
    leading = [f"l{i}" for i in range(images_type.rank - 4)]
    names = [(*leading, "n", "h", "w", channels[0])]
    names += [(*leading, "n", "i", "j", channel) for channel in channels[1:]]
    return [" ".join(_from_channels_last(axes, options.channels_first)) for axes in names]


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
    local = functools.partial(_local_forward, options)
    return mesh, local, cut.of_images(), (cut.of_images(), cut.of_boxes())


def _partition_backward(options: Options, mesh, arguments, results):
    cut = _Cut(options, mesh, arguments[0])

    def local(x, boxes, output_grad):
        input_grad, boxes_grad = _local_backward(options, x, boxes, output_grad)
        if cut.images is not None:
            boxes_grad = jax.lax.psum(boxes_grad, cut.images)
        return input_grad, boxes_grad

    of_arguments = (cut.of_images(), cut.of_boxes(), cut.of_images())
    return mesh, local, (cut.of_images(), cut.of_boxes()), of_arguments


def _partition_table(options: Options, dtype: str, mesh, arguments, result):
    cut = _Cut(options, mesh, arguments[0])
    local = functools.partial(_local_table, options, dtype)
    return mesh, local, cut.of_images(), (cut.of_images(),)


def _partitioned(function: Callable, statics: int, partition: Callable, rule: Callable):
    partitioned = custom_partitioning(function, static_argnums=tuple(range(statics)))
    partitioned.def_partition(partition=partition, sharding_rule=rule)
    return partitioned


_partitioned_forward = _partitioned(_local_forward, 1, _partition_forward, _forward_rule)
_partitioned_backward = _partitioned(_local_backward, 1, _partition_backward, _backward_rule)
_partitioned_table = _partitioned(_local_table, 2, _partition_table, _table_rule)


# The choice by platform, and vmap. A mapped axis becomes the first of the leading axes.


def _call(native: Callable, portable: Callable) -> Callable:
    """A function of arrays with equal leading axes; `portable` maps over these by itself.

    It is compiled, so that it is traced once for each kind of arguments.
    """

    def by_platform(*arrays):
        mapped = portable
        for _ in range(arrays[0].ndim - 4):
            mapped = jax.vmap(mapped)
        branches = dict.fromkeys(_NATIVE_PLATFORMS, native)
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
    return _call(_bound(_partitioned_forward, options), _bound(portable_forward, options))


@functools.cache
def backward(options: Options) -> Callable:
    """A function of `(x, boxes, output_grad)` that returns `(input_grad, boxes_grad)`."""
    return _call(_bound(_partitioned_backward, options), _bound(_portable_backward, options))


@functools.cache
def table(options: Options, dtype: str) -> Callable:
    """A function of `(x,)` that returns the summed-area table. Only `data_format` counts."""
    statics = (options, dtype)
    return _call(_bound(_partitioned_table, *statics), _bound(_portable_table, *statics))
