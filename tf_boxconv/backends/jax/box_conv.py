"""The compiled box convolution on JAX arrays, with gradients of first and second order.

With `out = B(boxes) x`, linear in `x`, the gradient is `B(boxes)^T g` and the four edge gradients,
which are bilinear in `x` and `g`. Differentiating the first needs only the two compiled operators
again; differentiating the edge gradients is rare and goes through the portable path.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from tf_boxconv.backends.attributes import attribute_of, layout_of
from tf_boxconv.backends.jax import calls
from tf_boxconv.backends.jax.forward_mode import forward_mode_advice
from tf_boxconv.backends.jax.handlers import Options, equally_varied
from tf_boxconv.backends.jax.sharding import without_explicit_axes


def box_conv2d(
    x: jax.Array,
    boxes: jax.Array,
    strides: tuple[int, int],
    normalization: str | None,
    data_format: str,
) -> jax.Array:
    """Computes `tf_boxconv.box_conv2d` on arrays and arguments that it has checked.

    It works under `jit`, `grad` (twice, with respect to everything), `vmap`, `checkpoint`, and on
    arrays sharded over devices by images or channels. Like every `jax.custom_vjp` function it has
    no forward-mode derivative: the portable path has.
    """
    options = Options(strides, attribute_of(normalization), layout_of(data_format))
    if calls.exporting(x, boxes):
        return calls.portable_forward(options, x, boxes)
    compute = without_explicit_axes(functools.partial(_box_conv, options), options, x)
    with forward_mode_advice('pass implementation="portable"'):
        return compute(*equally_varied(x, boxes))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _box_conv(options: Options, x, boxes):
    return calls.forward(options)(x, boxes)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _box_conv_grad(options: Options, x, boxes, output_grad):
    return calls.backward(options)(x, boxes, output_grad)


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
    """Gradients of `<of_boxes_grad, edge gradients>` by the portable path."""

    def edge_gradients(x, boxes, output_grad):
        _, gradient = jax.vjp(lambda b: calls.portable_forward(options, x, b), boxes)
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
