"""Derivatives with respect to boxes that no kernel computes, by the portable path.

Everything here is written with `torch.func.vjp` alone, so that it can be differentiated again,
mapped and nested in any order, inside `torch.func` and outside.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from tf_boxconv.backends.attributes import normalization_of
from tf_boxconv.ops.box_conv_portable import box_conv2d_portable


def portable(x, boxes, strides, normalization, layout) -> torch.Tensor:
    """The operator by the portable path."""
    return box_conv2d_portable(x, boxes, strides, normalization_of(normalization), layout)


def portable_gradients(x, boxes, output_grad, *options) -> tuple[torch.Tensor, torch.Tensor]:
    """`(input_grad, boxes_grad)` by the portable path."""
    _, pull = torch.func.vjp(lambda x, boxes: portable(x, boxes, *options), x, boxes)
    return pull(output_grad)


def along_boxes(x, boxes, boxes_tangent, *options) -> torch.Tensor:
    """The directional derivative of the output along `boxes_tangent`."""
    return _directional_derivative(lambda boxes: portable(x, boxes, *options), boxes, boxes_tangent)


def gradients_along_boxes(
    x, boxes, output_grad, boxes_tangent, *options
) -> tuple[torch.Tensor, torch.Tensor]:
    """The directional derivative of `(input_grad, boxes_grad)` along `boxes_tangent`."""
    return _directional_derivative(
        lambda boxes: portable_gradients(x, boxes, output_grad, *options), boxes, boxes_tangent
    )


def through_edge_gradients(x, boxes, output_grad, of_boxes_grad, *options) -> tuple:
    """Gradients of `<of_boxes_grad, boxes_grad>` to `(x, boxes, output_grad)`."""

    def edge_gradients(x, boxes, output_grad):
        _, pull = torch.func.vjp(lambda boxes: portable(x, boxes, *options), boxes)
        return pull(output_grad)[0]

    _, pull = torch.func.vjp(edge_gradients, x, boxes, output_grad)
    return pull(of_boxes_grad)


def _directional_derivative(function: Callable, at: torch.Tensor, tangent: torch.Tensor):
    """`J(at) tangent` by reverse mode, which nests where forward mode does not.

    `J^T u` is linear in `u`, so its own transposed derivative is `J`.
    """
    out, pull = torch.func.vjp(function, at)
    zeros = torch.utils._pytree.tree_map(torch.zeros_like, out)
    _, push = torch.func.vjp(lambda u: pull(u)[0], zeros)
    return push(tangent)[0]
