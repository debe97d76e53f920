"""`separable_box_conv2d` on JAX, with gradients of first and second order.

On the CPU there are handlers for the output and for its gradients. On other platforms, and for
derivatives of the gradients, `box_conv2d` and a product with the kernel are composed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from tf_boxconv.backends.attributes import layout_of, normalization_attribute
from tf_boxconv.backends.jax import box_conv, calls, sharding
from tf_boxconv.backends.jax.forward_mode import forward_mode_advice
from tf_boxconv.backends.jax.handlers import Options, vary_equally
from tf_boxconv.backends.jax.sharding import without_explicit_axes


def separable_box_conv2d(
    x: jax.Array,
    boxes: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None,
    strides: tuple[int, int],
    normalization: str | None,
    data_format: str,
) -> jax.Array:
    """Computes `tf_boxconv.separable_box_conv2d` on arguments that are checked already.

    Supports `jit`, `grad` (twice, with respect to all arguments), `vmap`, `checkpoint`, and arrays
    sharded over devices by images. Like all `jax.custom_vjp` functions it has no forward-mode
    derivative; the portable path has one.

    Args:
        x: `[N, H, W, C]`, or `[N, C, H, W]` if `data_format="channels_first"`.
        boxes: `[C, M, 4]`, float64 if `x` is float64, and float32 otherwise.
        kernel: `[C * M, filters]`, in the dtype of `x`.
        bias: `[filters]`, in the dtype of `x`. None is zero.
        strides: `(stride_y, stride_x)`.
        normalization: `"area"`, `"valid"` or None.
        data_format: `"channels_last"` or `"channels_first"`.
    """
    options = Options(strides, normalization_attribute(normalization), layout_of(data_format))
    if bias is None:
        bias = jnp.zeros_like(kernel, shape=kernel.shape[1:])
    if calls.exporting(x, boxes, kernel, bias):
        responses = calls.portable_forward(options, x, boxes)
        return _mix(options, responses, kernel, bias)
    function = functools.partial(_separable_box_conv, options)
    compute = without_explicit_axes(function, options, x, channels=False)
    with forward_mode_advice('pass implementation="portable"'):
        return compute(*vary_equally(x, boxes, kernel, bias))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _separable_box_conv(options: Options, x, boxes, kernel, bias):
    return _forward_call(options)(x, boxes, kernel, bias)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _separable_box_conv_grad(options: Options, x, boxes, kernel, output_grad):
    return _backward_call(options)(x, boxes, kernel, output_grad)


def _forward_rule(options: Options, x, boxes, kernel, bias):
    return _separable_box_conv(options, x, boxes, kernel, bias), (x, boxes, kernel)


def _second_gradient(options: Options, arrays, of_gradients):
    """Back-propagates through the four gradients to `(x, boxes, kernel, output_grad)`."""
    _, gradients = jax.vjp(functools.partial(_composed_gradients, options), *arrays)
    return gradients(of_gradients)


_separable_box_conv.defvjp(
    _forward_rule,
    lambda options, arrays, output_grad: _separable_box_conv_grad(options, *arrays, output_grad),
)
_separable_box_conv_grad.defvjp(
    lambda options, *arrays: (_separable_box_conv_grad(options, *arrays), arrays), _second_gradient
)


# The composition.


def _images(options: Options, channels: str) -> str:
    """Returns the axes of images for `jnp.einsum`; `channels` is the letter of their channels."""
    return f"n{channels}ij" if options.channels_first else f"nij{channels}"


def _mix(options: Options, responses, kernel, bias):
    """Returns the output, given the responses of the boxes."""
    equation = f"{_images(options, 'k')},kf->{_images(options, 'f')}"
    bias = bias[:, None, None] if options.channels_first else bias
    return jnp.einsum(equation, responses, kernel) + bias


def _composed(options: Options, x, boxes, kernel, bias):
    return _mix(options, box_conv.forward(options, x, boxes), kernel, bias)


def _composed_gradients(options: Options, x, boxes, kernel, output_grad):
    """Returns `(input_grad, boxes_grad, kernel_grad, bias_grad)`."""
    responses_axes, output_axes = _images(options, "k"), _images(options, "f")
    responses_grad = jnp.einsum(f"{output_axes},kf->{responses_axes}", output_grad, kernel)
    input_grad, boxes_grad = box_conv.backward(options, x, boxes, responses_grad)
    responses = box_conv.forward(options, x, boxes)
    kernel_grad = jnp.einsum(f"{responses_axes},{output_axes}->kf", responses, output_grad)
    pixels = (0, 2, 3) if options.channels_first else (0, 1, 2)
    return input_grad, boxes_grad, kernel_grad, jnp.sum(output_grad, pixels)


# The calls without gradients: the handlers on the CPU, the composition on other platforms.


@functools.cache
def _forward_call(options: Options) -> Callable:
    """Returns a function of `(x, boxes, kernel, bias)` that computes the output."""
    return calls.operator(
        functools.partial(sharding.separable_forward, options),
        functools.partial(_composed, options),
        platforms=("cpu",),
    )


@functools.cache
def _backward_call(options: Options) -> Callable:
    """Returns a function of `(x, boxes, kernel, output_grad)` that computes the four gradients."""
    return calls.operator(
        functools.partial(sharding.separable_backward, options),
        functools.partial(_composed_gradients, options),
        platforms=("cpu",),
    )
