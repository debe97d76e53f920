"""`box_conv2d` on PyTorch, differentiable in every mode and to any order.

There are two operators, forward and gradient. Each exists in two forms with the same backward
function: registered with `torch.library`, and as an `autograd.Function`. `forms.py` chooses one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tf_boxconv.backends.attributes import normalization_attribute
from tf_boxconv.backends.torch import derivatives
from tf_boxconv.backends.torch.batching import fold, unfold
from tf_boxconv.backends.torch.forms import choose_form, exporting
from tf_boxconv.backends.torch.library import call, problem_of
from tf_boxconv.backends.torch.memory_layout import in_memory_order
from tf_boxconv.ops.arguments import channel_axis
from tf_boxconv.ops.box_conv_portable import box_conv2d_portable


def box_conv2d(
    x: torch.Tensor,
    boxes: torch.Tensor,
    strides: tuple[int, int],
    normalization: str | None,
    data_format: str,
) -> torch.Tensor:
    """Computes `tf_boxconv.box_conv2d` on arguments that are checked already."""
    if x.device.type != "cpu" or exporting():
        return box_conv2d_portable(x, boxes, strides, normalization, data_format)
    x, layout, restore = in_memory_order(x, data_format)
    return restore(forward(x, boxes, list(strides), normalization_attribute(normalization), layout))


def forward(x, boxes, *options) -> torch.Tensor:
    """Returns the output. `options` are the strides, the normalization and the data format."""
    return choose_form(_operator, BoxConv, derivatives.portable)(x, boxes, *options)


def backward(x, boxes, output_grad, *options) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns `(input_grad, boxes_grad)`."""
    run = choose_form(_grad_operator, BoxConvGrad, derivatives.portable_gradients)
    return run(x, boxes, output_grad, *options)


# The registered operators.


@torch.library.custom_op("tf_boxconv::box_conv2d", mutates_args=(), device_types="cpu")
def _operator(
    x: torch.Tensor, boxes: torch.Tensor, strides: Sequence[int], normalization: str, layout: str
) -> torch.Tensor:
    x, boxes = x.contiguous(), boxes.contiguous()
    out = empty_output(x, boxes.shape[0] * boxes.shape[1], strides, layout)
    problem = problem_of(x, layout, boxes.shape[1], strides, normalization)
    call("forward", problem, x, boxes, out)
    return out


@_operator.register_fake
def _(x, boxes, strides, normalization, layout):
    return empty_output(x, boxes.shape[0] * boxes.shape[1], strides, layout)


def empty_output(x, channels: int, strides: Sequence[int], layout: str) -> torch.Tensor:
    """Returns an output with this number of channels for images `x`, not initialized."""
    batch, *sizes = x.shape
    height, width = sizes[:2] if layout == "channels_last" else sizes[1:]
    size = [(height + strides[0] - 1) // strides[0], (width + strides[1] - 1) // strides[1]]
    shape = [*size, channels] if layout == "channels_last" else [channels, *size]
    return x.new_empty([batch, *shape])


@torch.library.custom_op("tf_boxconv::box_conv2d_grad", mutates_args=(), device_types="cpu")
def _grad_operator(
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


@_grad_operator.register_fake
def _(x, boxes, output_grad, strides, normalization, layout):
    return x.new_empty(x.shape), boxes.new_empty(boxes.shape)


# Their derivatives.
#
# The output `B(boxes) x` is linear in `x`. For an upstream gradient `g`, the
# gradient operator returns `B(boxes)^T g` and the gradients of the boxes, which are bilinear in `x`
# and `g`. So derivatives with respect to `x` and `g` call the two operators again. Derivatives with
# respect to `boxes`, except for the first gradient, differentiate the portable path.


def save_inputs(ctx, inputs, output) -> None:
    """Saves the tensors and the options of an operator for its derivatives."""
    tensors = [value for value in inputs if isinstance(value, torch.Tensor)]
    ctx.save_for_backward(*tensors)
    ctx.save_for_forward(*tensors)
    ctx.options = inputs[len(tensors) :]
    # Pass None instead of zeros for gradients of unused outputs. `boxes_grad` is nearly always
    # unused, and its derivatives are slow.
    ctx.set_materialize_grads(False)


def tangent(x, boxes, x_tangent, boxes_tangent, *options) -> torch.Tensor | None:
    """Returns the tangent of the output. Tangents may be None, which means zero."""
    through_x = through_boxes = None
    if x_tangent is not None:
        through_x = forward(x_tangent, boxes, *options)
    if boxes_tangent is not None:
        through_boxes = derivatives.along_boxes(x, boxes, boxes_tangent, *options)
    return add(through_x, through_boxes)


def gradient_tangents(
    x, boxes, output_grad, x_tangent, boxes_tangent, output_grad_tangent, *options
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Returns the tangents of `(input_grad, boxes_grad)`. Tangents may be None."""
    input_grad_tangent = boxes_grad_tangent = None
    if output_grad_tangent is not None:
        input_grad_tangent, boxes_grad_tangent = backward(x, boxes, output_grad_tangent, *options)
    if x_tangent is not None:
        _, through_x = backward(x_tangent, boxes, output_grad, *options)
        boxes_grad_tangent = add(boxes_grad_tangent, through_x)
    if boxes_tangent is not None:
        through_boxes = derivatives.gradients_along_boxes(
            x, boxes, output_grad, boxes_tangent, *options
        )
        input_grad_tangent = add(input_grad_tangent, through_boxes[0])
        boxes_grad_tangent = add(boxes_grad_tangent, through_boxes[1])
    return input_grad_tangent, boxes_grad_tangent


def second_gradients(
    x, boxes, output_grad, of_input_grad, of_boxes_grad, *options
) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
    """Back-propagates through `(input_grad, boxes_grad)` to `(x, boxes, output_grad)`.

    Gradients may be None, which means zero.
    """
    to_x = to_boxes = to_output_grad = None
    if of_input_grad is not None:
        # <of_input_grad, B^T g> = <B of_input_grad, g>: the gradients of the forward operator, with
        # `of_input_grad` instead of the image.
        to_output_grad = forward(of_input_grad, boxes, *options)
        _, to_boxes = backward(of_input_grad, boxes, output_grad, *options)
    if of_boxes_grad is not None:
        to_x, more_to_boxes, more_to_output_grad = derivatives.through_boxes_grad(
            x, boxes, output_grad, of_boxes_grad, *options
        )
        to_boxes = add(to_boxes, more_to_boxes)
        to_output_grad = add(to_output_grad, more_to_output_grad)
    return to_x, to_boxes, to_output_grad


def add(a: torch.Tensor | None, b: torch.Tensor | None) -> torch.Tensor | None:
    """Returns the sum of two tensors. None means zero."""
    return b if a is None else a if b is None else a + b


class BoxConv(torch.autograd.Function):
    """The forward operator of `box_conv2d`."""

    setup_context = staticmethod(save_inputs)

    @staticmethod
    def forward(x, boxes, *options):
        """Returns the output."""
        return _operator(x, boxes, *options)

    @staticmethod
    @torch.compiler.disable  # Compiled, it would read saved tensors twice; checkpoints refuse that.
    def backward(ctx, output_grad):
        """Returns `(input_grad, boxes_grad)`, and None for each option."""
        if output_grad is None:
            return (None,) * 5
        x, boxes = ctx.saved_tensors
        return *backward(x, boxes, output_grad, *ctx.options), None, None, None

    @staticmethod
    def jvp(ctx, x_tangent, boxes_tangent, *_):
        """Returns `B(boxes) x_tangent` plus the directional derivative along `boxes_tangent`."""
        return tangent(*ctx.saved_tensors, x_tangent, boxes_tangent, *ctx.options)

    @staticmethod
    def vmap(info, in_dims, x, boxes, *options):
        """Merges the mapped axis into the batch, or into the channels if boxes are mapped."""
        size, channels = info.batch_size, channel_axis(options[-1])
        axis = 0 if in_dims[1] is None else channels
        x = fold(x, in_dims[0], axis, size)
        if in_dims[1] is not None:
            boxes = fold(boxes, in_dims[1], 0, size)
        return unfold(forward(x, boxes, *options), axis, size), axis


class BoxConvGrad(torch.autograd.Function):
    """The gradient operator of `box_conv2d`."""

    setup_context = staticmethod(save_inputs)

    @staticmethod
    def forward(x, boxes, output_grad, *options):
        """Returns `(input_grad, boxes_grad)`."""
        return _grad_operator(x, boxes, output_grad, *options)

    @staticmethod
    @torch.compiler.disable  # Compiled, it would read saved tensors twice; checkpoints refuse that.
    def backward(ctx, of_input_grad, of_boxes_grad):
        """Back-propagates through `(input_grad, boxes_grad)` to `(x, boxes, output_grad)`."""
        gradients = second_gradients(*ctx.saved_tensors, of_input_grad, of_boxes_grad, *ctx.options)
        return *gradients, None, None, None

    @staticmethod
    def jvp(ctx, x_tangent, boxes_tangent, output_grad_tangent, *_):
        """Returns the tangents of `(input_grad, boxes_grad)`."""
        return gradient_tangents(
            *ctx.saved_tensors, x_tangent, boxes_tangent, output_grad_tangent, *ctx.options
        )

    @staticmethod
    def vmap(info, in_dims, x, boxes, output_grad, *options):
        """Merges the mapped axis into the channels, because each channel has its own boxes."""
        size, channels = info.batch_size, channel_axis(options[-1])
        x, boxes, output_grad = (
            fold(tensor, dim, axis, size)
            for tensor, dim, axis in zip(
                (x, boxes, output_grad), in_dims, (channels, 0, channels), strict=False
            )
        )
        input_grad, boxes_grad = backward(x, boxes, output_grad, *options)
        gradients = unfold(input_grad, channels, size), unfold(boxes_grad, 0, size)
        return gradients, (channels, 0)


_operator.register_autograd(BoxConv.backward, setup_context=save_inputs)
_grad_operator.register_autograd(BoxConvGrad.backward, setup_context=save_inputs)
