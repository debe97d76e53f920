"""`box_conv2d` on JAX, with gradients of first and second order.

The output `B(boxes) x` is linear in `x`. For an upstream gradient `g`, the gradient operator
returns `B(boxes)^T g` and the gradients of the boxes, which are bilinear in `x` and `g`. The
gradient of `B(boxes)^T g` uses the two compiled operators again. The gradient of the boxes'
gradients, which is rarely needed, uses the portable path.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from tf_boxconv.backends.attributes import layout_of, normalization_attribute
from tf_boxconv.backends.jax import calls
from tf_boxconv.backends.jax.forward_mode import forward_mode_advice
from tf_boxconv.backends.jax.handlers import Options, vary_equally
from tf_boxconv.backends.jax.sharding import without_explicit_axes


def box_conv2d(
    x: jax.Array,
    boxes: jax.Array,
    strides: tuple[int, int],
    normalization: str | None,
    data_format: str,
) -> jax.Array:
    """Computes `tf_boxconv.box_conv2d` on arguments that are checked already.

    Supports `jit`, `grad` (twice, with respect to all arguments), `vmap`, `checkpoint`, and arrays
    sharded over devices by images or channels. Like all `jax.custom_vjp` functions it has no
    forward-mode derivative; the portable path has one.
    """
    options = Options(strides, normalization_attribute(normalization), layout_of(data_format))
    if calls.exporting(x, boxes):
        return calls.portable_forward(options, x, boxes)
    compute = without_explicit_axes(functools.partial(forward, options), options, x)
    with forward_mode_advice('pass implementation="portable"'):
        return compute(*vary_equally(x, boxes))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def forward(options: Options, x, boxes):
    """Returns the output; has gradients of first and second order."""
    return calls.forward(options)(x, boxes)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def backward(options: Options, x, boxes, output_grad):
    """Returns `(input_grad, boxes_grad)`; has gradients."""
    return calls.backward(options)(x, boxes, output_grad)


def _second_gradient(options: Options, arrays, of_gradients):
    """Back-propagates through `(input_grad, boxes_grad)` to `(x, boxes, output_grad)`."""
    _, boxes, output_grad = arrays
    of_input_grad, of_boxes_grad = of_gradients
    # <of_input_grad, B^T g> = <B of_input_grad, g>: the gradients of the forward operator, with
    # `of_input_grad` instead of the image.
    to_output_grad = forward(options, of_input_grad, boxes)
    _, to_boxes = backward(options, of_input_grad, boxes, output_grad)
    # If nothing depends on `boxes_grad`, which is nearly always, JAX passes zeros.
    to_x, more_to_boxes, more_to_output_grad = jax.lax.cond(
        jnp.any(of_boxes_grad != 0),
        lambda: _through_boxes_grad(options, arrays, of_boxes_grad),
        lambda: tuple(jnp.zeros_like(array) for array in arrays),
    )
    return to_x, to_boxes + more_to_boxes, to_output_grad + more_to_output_grad


def _through_boxes_grad(options: Options, arrays, of_boxes_grad):
    """Returns the gradients of `<of_boxes_grad, boxes_grad>` to `arrays`, by the portable path."""

    def boxes_grad(x, boxes, output_grad):
        _, gradient = jax.vjp(lambda b: calls.portable_forward(options, x, b), boxes)
        return gradient(output_grad)[0]

    _, gradients = jax.vjp(boxes_grad, *arrays)
    return gradients(of_boxes_grad)


forward.defvjp(
    lambda options, x, boxes: (forward(options, x, boxes), (x, boxes)),
    lambda options, arrays, output_grad: backward(options, *arrays, output_grad),
)
backward.defvjp(lambda options, *arrays: (backward(options, *arrays), arrays), _second_gradient)
