"""The compiled box convolution as a custom operator of PyTorch, and its gradients.

As in TensorFlow, the gradient operator is differentiable itself: through the input's gradient by
the same two operators, through the edges' by the stock-op path.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tf_boxconv.backends.attributes import attribute_of, normalization_of
from tf_boxconv.backends.torch.library import call, problem_of
from tf_boxconv.backends.torch.memory_layout import in_memory_order
from tf_boxconv.ops.box_conv_overlap import box_conv2d_overlap


def box_conv2d(
    x: torch.Tensor,
    boxes: torch.Tensor,
    strides: tuple[int, int],
    normalization: str | None,
    data_format: str,
) -> torch.Tensor:
    """The operator on tensors and arguments that `tf_boxconv.box_conv2d` has checked."""
    if x.device.type != "cpu":
        return box_conv2d_overlap(x, boxes, strides, normalization, data_format)
    x, layout, restore = in_memory_order(x, data_format)
    return restore(_box_conv2d(x, boxes, list(strides), attribute_of(normalization), layout))


@torch.library.custom_op("tf_boxconv::box_conv2d", mutates_args=(), device_types="cpu")
def _box_conv2d(
    x: torch.Tensor, boxes: torch.Tensor, strides: Sequence[int], normalization: str, layout: str
) -> torch.Tensor:
    x, boxes = x.contiguous(), boxes.contiguous()
    out = _empty_output(x, boxes, strides, normalization, layout)
    problem = problem_of(x, layout, boxes.shape[1], strides, normalization)
    call("forward", problem, x, boxes, out)
    return out


@_box_conv2d.register_fake
def _empty_output(x, boxes, strides, normalization, layout) -> torch.Tensor:
    batch, *sizes = x.shape
    height, width = sizes[:2] if layout == "channels_last" else sizes[1:]
    size = [(height + strides[0] - 1) // strides[0], (width + strides[1] - 1) // strides[1]]
    channels = boxes.shape[0] * boxes.shape[1]
    shape = [*size, channels] if layout == "channels_last" else [channels, *size]
    return x.new_empty([batch, *shape])


@torch.library.custom_op("tf_boxconv::box_conv2d_grad", mutates_args=(), device_types="cpu")
def _box_conv2d_grad(
    x: torch.Tensor,
    boxes: torch.Tensor,
    output_grad: torch.Tensor,
    strides: Sequence[int],
    normalization: str,
    layout: str,
) -> tuple[torch.Tensor, torch.Tensor]:
    x, boxes, output_grad = x.contiguous(), boxes.contiguous(), output_grad.contiguous()
    input_grad, boxes_grad = torch.empty_like(x), torch.empty_like(boxes)
    problem = problem_of(x, layout, boxes.shape[1], strides, normalization)
    call("backward", problem, x, boxes, output_grad, input_grad, boxes_grad)
    return input_grad, boxes_grad


@_box_conv2d_grad.register_fake
def _(x, boxes, output_grad, strides, normalization, layout):
    return x.new_empty(x.shape), boxes.new_empty(boxes.shape)


def _keep(ctx, inputs, output) -> None:
    tensors = [value for value in inputs if isinstance(value, torch.Tensor)]
    ctx.save_for_backward(*tensors)
    ctx.options = inputs[len(tensors) :]


def _gradient(ctx, output_grad: torch.Tensor):
    x, boxes = ctx.saved_tensors
    return *_box_conv2d_grad(x, boxes, output_grad, *ctx.options), None, None, None


def _keep_for_second_gradient(ctx, inputs, output) -> None:
    _keep(ctx, inputs, output)
    # Nothing depends on the edges' gradients, nearly always: None says so, zeros would not.
    ctx.set_materialize_grads(False)


def _second_gradient(ctx, of_input_grad: torch.Tensor | None, of_boxes_grad: torch.Tensor | None):
    """Back-propagates through `(input_grad, boxes_grad)` to `(x, boxes, output_grad)`."""
    x, boxes, output_grad = ctx.saved_tensors
    to_x = to_boxes = to_output_grad = None
    if of_input_grad is not None:
        # <of_input_grad, B^T g> = <B of_input_grad, g>: the forward operator's own two gradients,
        # with the vector in the place of the image.
        to_output_grad = _box_conv2d(of_input_grad, boxes, *ctx.options)
        _, to_boxes = _box_conv2d_grad(of_input_grad, boxes, output_grad, *ctx.options)
    if of_boxes_grad is not None:
        to_x, more_to_boxes, more_to_output_grad = _through_edge_gradients(
            (x, boxes, output_grad), of_boxes_grad, *ctx.options
        )
        to_boxes = _sum(to_boxes, more_to_boxes)
        to_output_grad = _sum(to_output_grad, more_to_output_grad)
    return to_x, to_boxes, to_output_grad, None, None, None


def _sum(a: torch.Tensor | None, b: torch.Tensor) -> torch.Tensor:
    return b if a is None else a + b


def _through_edge_gradients(tensors, of_boxes_grad, strides, normalization, layout):
    """Gradients of `<of_boxes_grad, edge gradients>` by the stock-op path, of any order."""
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        # Aliases: gradients to them leave out what one of the tensors owes to another.
        aliases = [
            t.view_as(t) if again and t.requires_grad else t.detach().requires_grad_()
            for t in tensors
        ]
        x, boxes, output_grad = aliases
        out = box_conv2d_overlap(x, boxes, strides, normalization_of(normalization), layout)
        (edges,) = torch.autograd.grad(out, boxes, output_grad, create_graph=True)
        return torch.autograd.grad(
            edges, aliases, of_boxes_grad, create_graph=again, materialize_grads=True
        )


_box_conv2d.register_autograd(_gradient, setup_context=_keep)
_box_conv2d_grad.register_autograd(_second_gradient, setup_context=_keep_for_second_gradient)
