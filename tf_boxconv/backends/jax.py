"""JAX: the compiled operators, with gradients of first and second order."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from tf_boxconv.backends import jax_calls
from tf_boxconv.backends.jax_calls import Options

FLOAT_TYPES = ("float16", "bfloat16", "float32", "float64")


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
    options = Options(
        _standardize_strides(strides),
        _standardize_normalization(normalization),
        _standardize_data_format(data_format),
    )
    x = _convert_images(x)
    boxes = _convert_boxes(boxes, x, options)
    return _box_conv(options, *jax_calls.equally_varied(x, boxes))


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
    options = Options((1, 1), "none", _standardize_data_format(data_format))
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


def _convert_boxes(boxes, x: jax.Array, options: Options) -> jax.Array:
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


# Gradients. With `out = B(boxes) x`, linear in `x`, the gradient is `B(boxes)^T g` and the four
# edge gradients, which are bilinear in `x` and `g`. Differentiating the first needs only the two
# compiled operators again; differentiating the edge gradients is rare and goes through stock
# operations.


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _box_conv(options: Options, x, boxes):
    return jax_calls.forward(options)(x, boxes)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _box_conv_grad(options: Options, x, boxes, output_grad):
    return jax_calls.backward(options)(x, boxes, output_grad)


def _second_gradient(options: Options, arrays, of_gradients):
    """Back-propagates through `(input_grad, boxes_grad)` to `(x, boxes, output_grad)`."""
    _, boxes, output_grad = arrays
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


def _through_edge_gradients(options: Options, arrays, of_boxes_grad):
    """Gradients of `<of_boxes_grad, edge gradients>` by stock operations."""

    def edge_gradients(x, boxes, output_grad):
        _, gradient = jax.vjp(lambda b: jax_calls.portable_forward(options, x, b), boxes)
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
def _table(options: Options, dtype: str, x):
    return jax_calls.table(options, dtype)(x)


def _table_forward(options: Options, dtype: str, x):
    # A scalar carries the dtype.
    return _table(options, dtype, x), jnp.zeros((), x.dtype)


def _table_gradient(options: Options, dtype: str, scalar, table_grad):
    """Each pixel is in every entry below and to the right of it: sum the table from that corner."""
    axes = (2, 3) if options.channels_first else (1, 2)
    inner = tuple(slice(1, None) if axis in axes else slice(None) for axis in range(4))
    sums = _table(options, dtype, jnp.flip(table_grad[inner], axes))
    return (jnp.flip(sums[inner], axes).astype(scalar.dtype),)


_table.defvjp(_table_forward, _table_gradient)
