"""JAX: the compiled operators as calls from XLA, with gradients, vmap and sharding.

An operator has four layers, the outermost first:
- `jax.custom_vjp`: gradients of first and second order;
- `custom_vmap`: axes that `jax.vmap` maps become leading axes of the arrays, which the compiled
  handlers loop over;
- the choice by platform: stock operations where there is no handler (TPU);
- `custom_partitioning`: how arrays are cut over devices. Images and channels stay where they are.
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import math
import operator
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding, PartitionSpec

from tf_boxconv.backends.library import CORE_LIBRARY, LibraryUnavailable, missing

SUPPORTS_JIT = True

FLOAT_TYPES = ("float16", "bfloat16", "float32", "float64")
_TARGETS = ("forward", "backward", "integral_image")
# The library's name for a platform, and JAX's.
_PLATFORMS = {"host": "cpu", "cuda": "cuda"}


@dataclasses.dataclass(frozen=True)
class _Options:
    """The attributes of a handler."""

    strides: tuple[int, int]
    normalization: str
    data_format: str

    @property
    def channels_first(self) -> bool:
        return self.data_format == "NCHW"

    def attributes(self) -> dict:
        return {**dataclasses.asdict(self), "strides": np.array(self.strides, np.int64)}

    def output_shape(self, x, boxes) -> tuple[int, ...]:
        *leading, n, h, w, c = _to_channels_last(x.shape, self.channels_first)
        size = (-(-length // s) for length, s in zip((h, w), self.strides, strict=True))
        shape = (*leading, n, *size, c * boxes.shape[-2])
        return _from_channels_last(shape, self.channels_first)


def box_conv2d(
    x,
    boxes,
    strides: int | Sequence[int] = 1,
    normalization: str | None = "area",
    data_format: str = "channels_last",
) -> jax.Array:
    """Convolves each channel of `x` with boxes of any size, at a cost independent of the size.

    `tf_boxconv.box_conv2d` says what it computes. It works under `jit`, `grad` (twice, with respect
    to everything), `vmap`, `checkpoint`, and on arrays sharded over devices by images or channels;
    like every `jax.custom_vjp` function it has no forward-mode derivative.

    Args:
        x: Array `[N, H, W, C]`, or `[N, C, H, W]` with `data_format="channels_first"`; float16,
            bfloat16, float32 or float64.
        boxes: Array `[C, M, 4]` of `(y_min, x_min, y_max, x_max)` in pixels, relative to the
            centre of the output pixel. float64 if `x` is, else float32.
        strides: `s` or `(stride_y, stride_x)`.
        normalization: `"area"`, `"valid"` or `None`.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        Array of `x`'s dtype, `[N, ceil(H / stride_y), ceil(W / stride_x), C * M]`, or
        channels-first likewise.

    Raises:
        ValueError: for a wrong rank, shape or option.
        TypeError: for a dtype not named above.
    """
    options = _Options(
        _standardize_strides(strides),
        _standardize_normalization(normalization),
        _standardize_data_format(data_format),
    )
    x = _convert_images(x)
    return _box_conv(options, x, _convert_boxes(boxes, x, options))


def integral_image(x, data_format: str = "channels_last", dtype=None) -> jax.Array:
    """Computes the summed-area table of each plane.

    Entry `(i, j)` is the sum of the plane over rows `< i` and columns `< j`. The compiled operator
    keeps sums in float64 and rounds once.

    Args:
        x: Array `[N, H, W, C]`, or `[N, C, H, W]` with `data_format="channels_first"`; float16,
            bfloat16, float32 or float64.
        data_format: `"channels_last"` or `"channels_first"`.
        dtype: The table's dtype, `float32` or `float64`. `None` takes `float64` for float64 images
            and `float32` for others.

    Returns:
        Array of `dtype`, `[N, H + 1, W + 1, C]` or `[N, C, H + 1, W + 1]`.

    Raises:
        ValueError: for a wrong rank or option, or float64 without `jax_enable_x64`.
        TypeError: for a dtype not named above.
    """
    options = _Options((1, 1), "none", _standardize_data_format(data_format))
    x = _convert_images(x)
    dtype = jnp.dtype(dtype or ("float64" if x.dtype == "float64" else "float32")).name
    if dtype not in ("float32", "float64"):
        raise TypeError(f"`dtype` must be float32 or float64. Received: dtype={dtype}")
    if dtype == "float64" and not jax.config.jax_enable_x64:
        raise ValueError(
            "`dtype` float64 needs jax.config.update('jax_enable_x64', True). "
            f"Received: dtype={dtype}"
        )
    return _table(options, dtype, x)


# Arguments.


def _standardize_strides(strides) -> tuple[int, int]:
    try:
        pair = tuple(operator.index(s) for s in np.broadcast_to(strides, 2))
    except (TypeError, ValueError):
        pair = (0, 0)
    if min(pair) < 1:
        raise ValueError(
            "`strides` must be a positive integer or a pair of them (stride_y, stride_x). "
            f"Received: strides={strides!r}"
        )
    return pair


def _standardize_normalization(normalization) -> str:
    if normalization not in ("area", "valid", None):
        raise ValueError(
            '`normalization` must be "area", "valid" or None. '
            f"Received: normalization={normalization!r}"
        )
    return normalization or "none"


def _standardize_data_format(data_format) -> str:
    names = {"channels_last": "NHWC", "channels_first": "NCHW"}
    if data_format not in names:
        raise ValueError(
            '`data_format` must be "channels_last" or "channels_first". '
            f"Received: data_format={data_format!r}"
        )
    return names[data_format]


def _convert_images(x) -> jax.Array:
    x = jnp.asarray(x)
    if x.dtype.name not in FLOAT_TYPES:
        raise TypeError(
            "`x` must be float16, bfloat16, float32 or float64. "
            f"Received: x.dtype={x.dtype.name}; convert it with x.astype first."
        )
    if x.ndim != 4:
        raise ValueError(
            f"`x` must have rank 4, [N, H, W, C] or [N, C, H, W]. Received: x.shape={x.shape}"
        )
    return x


def _convert_boxes(boxes, x: jax.Array, options: _Options) -> jax.Array:
    dtype = "float64" if x.dtype == "float64" else "float32"
    typed = hasattr(boxes, "dtype")
    boxes = jnp.asarray(boxes) if typed else jnp.asarray(boxes, dtype)
    if boxes.dtype != dtype and (boxes.dtype, dtype) != ("float32", "float64"):
        raise TypeError(
            f"`boxes` must be {dtype} when `x` is {x.dtype.name} (half types cannot hold a "
            f"coordinate). Received: boxes.dtype={boxes.dtype.name}"
        )
    if boxes.ndim != 3 or boxes.shape[2] != 4:
        raise ValueError(
            "`boxes` must have shape [C, M, 4]: for each of C input channels M boxes "
            f"(y_min, x_min, y_max, x_max) in pixels. Received: boxes.shape={boxes.shape}"
        )
    channels = x.shape[1 if options.channels_first else 3]
    if boxes.shape[0] != channels:
        raise ValueError(
            f"`boxes` must have one row per channel of `x`, {channels} with "
            f"data_format={options.data_format}. Received: boxes.shape={boxes.shape}, "
            f"x.shape={x.shape}"
        )
    return boxes.astype(dtype)


def _to_channels_last(axes: Sequence, channels_first: bool) -> tuple:
    """What is said of each axis of images, in the order [..., N, H, W, C]."""
    *leading, n, a, b, c = axes
    return (*leading, n, b, c, a) if channels_first else (*leading, n, a, b, c)


def _from_channels_last(axes: Sequence, channels_first: bool) -> tuple:
    *leading, n, h, w, c = axes
    return (*leading, n, c, h, w) if channels_first else (*leading, n, h, w, c)


# The library.


def _load_library() -> ctypes.CDLL:
    if not CORE_LIBRARY.exists():
        raise missing(CORE_LIBRARY)
    library = ctypes.CDLL(str(CORE_LIBRARY))
    if not hasattr(library, "tf_boxconv_forward_host"):
        raise LibraryUnavailable(
            f"{CORE_LIBRARY} was built without JAX. Build it again with JAX installed: run `pip install "
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


def _local_forward(options: _Options, x, boxes):
    out = jax.ShapeDtypeStruct(options.output_shape(x, boxes), x.dtype)
    return jax.ffi.ffi_call("tf_boxconv_forward", out)(x, boxes, **options.attributes())


def _local_backward(options: _Options, x, boxes, output_grad):
    call = jax.ffi.ffi_call("tf_boxconv_backward", (_like(x), _like(boxes)))
    return tuple(call(x, boxes, output_grad, **options.attributes()))


def _local_table(options: _Options, dtype: str, x):
    *leading, n, h, w, c = _to_channels_last(x.shape, options.channels_first)
    shape = _from_channels_last((*leading, n, h + 1, w + 1, c), options.channels_first)
    call = jax.ffi.ffi_call("tf_boxconv_integral_image", jax.ShapeDtypeStruct(shape, dtype))
    return call(x, data_format=options.data_format)


def _like(array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype)


# The same by stock operations.


def _portable_forward(options: _Options, x, boxes):
    # Here, because it brings Keras along.
    from tf_boxconv.ops.box_conv_overlap import box_conv2d_overlap

    return box_conv2d_overlap(
        x,
        boxes,
        options.strides,
        None if options.normalization == "none" else options.normalization,
        "channels_first" if options.channels_first else "channels_last",
    )


def _portable_backward(options: _Options, x, boxes, output_grad):
    _, gradients = jax.vjp(functools.partial(_portable_forward, options), x, boxes)
    return gradients(output_grad)


def _portable_table(options: _Options, dtype: str, x):
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

    def __init__(self, options: _Options, mesh, x):
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


def _rules(options: _Options, operand) -> tuple[str, str, str, str]:
    """The axes of images, boxes, outputs and tables."""
    leading = [f"l{i}" for i in range(operand.rank - 4)]

    def of_images(*axes):
        return " ".join(_from_channels_last((*leading, *axes), options.channels_first))

    return (
        of_images("n", "h", "w", "c"),
        " ".join((*leading, "c", "m", "e")),
        of_images("n", "i", "j", "(c m)"),
        of_images("n", "i", "j", "c"),
    )


def _forward_rule(options: _Options, mesh, operands, results):
    images, boxes, outputs, _ = _rules(options, operands[0])
    whole = {"need_replication_factors": _WHOLE}
    return f"{images}, {boxes} -> {outputs}", whole


def _backward_rule(options: _Options, mesh, operands, results):
    images, boxes, outputs, _ = _rules(options, operands[0])
    whole = {"need_replication_factors": _WHOLE}
    return f"{images}, {boxes}, {outputs} -> {images}, {boxes}", whole


def _table_rule(options: _Options, dtype: str, mesh, operands, results):
    images, _, _, tables = _rules(options, operands[0])
    return f"{images} -> {tables}", {"need_replication_factors": ("h", "w", "i", "j")}


def _partition_forward(options: _Options, mesh, arguments, result):
    cut = _Cut(options, mesh, arguments[0])
    local = functools.partial(_local_forward, options)
    return mesh, local, cut.of_images(), (cut.of_images(), cut.of_boxes())


def _partition_backward(options: _Options, mesh, arguments, results):
    cut = _Cut(options, mesh, arguments[0])

    def local(x, boxes, output_grad):
        input_grad, boxes_grad = _local_backward(options, x, boxes, output_grad)
        if cut.images is not None:
            boxes_grad = jax.lax.psum(boxes_grad, cut.images)
        return input_grad, boxes_grad

    of_arguments = (cut.of_images(), cut.of_boxes(), cut.of_images())
    return mesh, local, (cut.of_images(), cut.of_boxes()), of_arguments


def _partition_table(options: _Options, dtype: str, mesh, arguments, result):
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
def _forward(options: _Options) -> Callable:
    return _call(_bound(_partitioned_forward, options), _bound(_portable_forward, options))


@functools.cache
def _backward(options: _Options) -> Callable:
    return _call(_bound(_partitioned_backward, options), _bound(_portable_backward, options))


@functools.cache
def _table_call(options: _Options, dtype: str) -> Callable:
    statics = (options, dtype)
    return _call(_bound(_partitioned_table, *statics), _bound(_portable_table, *statics))


# Gradients. With `out = B(boxes) x`, linear in `x`, the gradient is `B(boxes)^T g` and the four edge
# gradients, which are bilinear in `x` and `g`. Differentiating the first needs only the two compiled
# operators again; differentiating the edge gradients is rare and goes through stock operations.


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _box_conv(options: _Options, x, boxes):
    return _forward(options)(x, boxes)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _box_conv_grad(options: _Options, x, boxes, output_grad):
    return _backward(options)(x, boxes, output_grad)


def _second_gradient(options: _Options, arrays, of_gradients):
    """Back-propagates through `(input_grad, boxes_grad)` to `(x, boxes, output_grad)`."""
    x, boxes, output_grad = arrays
    of_input_grad, of_boxes_grad = of_gradients
    # <of_input_grad, B^T g> = <B of_input_grad, g>: the forward operator's own two gradients, with
    # the vector in the place of the image.
    to_output_grad = _box_conv(options, of_input_grad, boxes)
    _, to_boxes = _box_conv_grad(options, of_input_grad, boxes, output_grad)
    # JAX passes zeros where nothing depends on the edge gradients, which is nearly always.
    through_edges = jax.lax.cond(
        jnp.any(of_boxes_grad != 0),
        lambda: _through_edge_gradients(options, arrays, of_boxes_grad),
        lambda: tuple(jnp.zeros_like(array) for array in arrays),
    )
    return (
        through_edges[0],
        to_boxes + through_edges[1],
        to_output_grad + through_edges[2],
    )


def _through_edge_gradients(options: _Options, arrays, of_boxes_grad):
    """Gradients of `<of_boxes_grad, edge gradients>` by stock operations."""

    def edge_gradients(x, boxes, output_grad):
        _, gradient = jax.vjp(lambda b: _portable_forward(options, x, b), boxes)
        return gradient(output_grad)[0]

    _, gradients = jax.vjp(edge_gradients, *arrays)
    return gradients(of_boxes_grad)


_box_conv.defvjp(
    lambda options, x, boxes: (_box_conv(options, x, boxes), (x, boxes)),
    lambda options, arrays, output_grad: _box_conv_grad(options, *arrays, output_grad),
)
_box_conv_grad.defvjp(
    lambda options, *arrays: (_box_conv_grad(options, *arrays), arrays), _second_gradient
)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _table(options: _Options, dtype: str, x):
    return _table_call(options, dtype)(x)


def _table_forward(options: _Options, dtype: str, x):
    # A scalar carries the dtype.
    return _table(options, dtype, x), jnp.zeros((), x.dtype)


def _table_gradient(options: _Options, dtype: str, scalar, table_grad):
    """Each pixel is in every entry below and to the right of it: sum the table from that corner."""
    axes = (2, 3) if options.channels_first else (1, 2)
    inner = tuple(slice(1, None) if axis in axes else slice(None) for axis in range(4))
    sums = _table(options, dtype, jnp.flip(table_grad[inner], axes))
    return (jnp.flip(sums[inner], axes).astype(scalar.dtype),)


_table.defvjp(_table_forward, _table_gradient)
