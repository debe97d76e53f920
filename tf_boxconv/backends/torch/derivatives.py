"""Derivatives with respect to boxes that no kernel computes. They use the portable path.

The only transform in this module is `torch.func.vjp`, so that its functions can be differentiated
again and mapped, inside and outside of the transforms of `torch.func`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from tf_boxconv.backends.attributes import normalization_of
from tf_boxconv.ops.box_conv_portable import box_conv2d_portable


def portable(x, boxes, strides, normalization, layout) -> torch.Tensor:
    """Returns the output by the portable path."""
    return box_conv2d_portable(x, boxes, strides, normalization_of(normalization), layout)


def portable_gradients(x, boxes, output_grad, *options) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns `(input_grad, boxes_grad)` by the portable path."""
    _, pull = torch.func.vjp(lambda x, boxes: portable(x, boxes, *options), x, boxes)
    return pull(output_grad)


def along_boxes(x, boxes, boxes_tangent, *options) -> torch.Tensor:
    """Returns the directional derivative of the output along `boxes_tangent`."""
    return _directional_derivative(lambda boxes: portable(x, boxes, *options), boxes, boxes_tangent)


def gradients_along_boxes(
    x, boxes, output_grad, boxes_tangent, *options
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the directional derivative of `(input_grad, boxes_grad)` along `boxes_tangent`."""
    return _directional_derivative(
        lambda boxes: portable_gradients(x, boxes, output_grad, *options), boxes, boxes_tangent
    )


def through_boxes_grad(x, boxes, output_grad, of_boxes_grad, *options) -> tuple:
    """Returns the gradients of `<of_boxes_grad, boxes_grad>` to `(x, boxes, output_grad)`."""

    def boxes_grad(x, boxes, output_grad):
        _, pull = torch.func.vjp(lambda boxes: portable(x, boxes, *options), boxes)
        return pull(output_grad)[0]

    _, pull = torch.func.vjp(boxes_grad, x, boxes, output_grad)
    return pull(of_boxes_grad)


def _directional_derivative(function: Callable, at: torch.Tensor, tangent: torch.Tensor):
    """Returns `J tangent`, where `J` is the Jacobian of `function` at the point `at`.

    Uses reverse mode twice, because forward mode does not nest: the first gives `J^T u`, which is
    linear in `u`. The second transposes this map, which gives `J`.
    """
    out, pull = torch.func.vjp(function, at)
    zeros = torch.utils._pytree.tree_map(torch.zeros_like, out)
    _, push = torch.func.vjp(lambda u: pull(u)[0], zeros)
    return push(tangent)[0]
