"""`separable_box_conv2d` on PyTorch, differentiable in every mode and to any order.

As in `box_conv.py`, there are two operators, forward and gradient, in two forms each. They run on
the CPU. On other devices, and for derivatives other than the first gradient, `box_conv2d` and a
product with the kernel are composed:

    responses = B(boxes) x
    output = responses @ kernel + bias

For an upstream gradient `g` of the output, the gradients are

    to the responses  r = g @ kernel^T
    to x and boxes    those of the box convolution, for the upstream gradient r
    to the kernel     responses^T @ g, summed over all pixels
    to the bias       g, summed over all pixels
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from tf_boxconv.backends.attributes import normalization_attribute
from tf_boxconv.backends.torch import box_conv, derivatives
from tf_boxconv.backends.torch.batching import fold, unfold
from tf_boxconv.backends.torch.box_conv import add, empty_output, save_inputs
from tf_boxconv.backends.torch.forms import choose_form, exporting
from tf_boxconv.backends.torch.library import call, problem_of
from tf_boxconv.backends.torch.memory_layout import in_memory_order


def separable_box_conv2d(
    x: torch.Tensor,
    boxes: torch.Tensor,
    kernel: torch.Tensor,
    bias: torch.Tensor | None,
    strides: tuple[int, int],
    normalization: str | None,
    data_format: str,
) -> torch.Tensor:
    """Computes `tf_boxconv.separable_box_conv2d` on arguments that are checked already.

    Args:
        x: `[N, H, W, C]`, or `[N, C, H, W]` if `data_format="channels_first"`.
        boxes: `[C, M, 4]`, float64 if `x` is float64, and float32 otherwise.
        kernel: `[C * M, filters]`, in the dtype of `x`.
        bias: `[filters]`, in the dtype of `x`. None is zero.
        strides: `(stride_y, stride_x)`.
        normalization: `"area"`, `"valid"` or None.
        data_format: `"channels_last"` or `"channels_first"`.
    """
    if x.device.type != "cpu" or exporting():
        responses = box_conv.box_conv2d(x, boxes, strides, normalization, data_format)
        return _mix(responses, kernel, bias, data_format)
    if bias is None:
        bias = kernel.new_zeros(kernel.shape[1:])
    x, layout, restore = in_memory_order(x, data_format)
    options = list(strides), normalization_attribute(normalization), layout
    return restore(_forward(x, boxes, kernel, bias, *options))


def _forward(x, boxes, kernel, bias, *options) -> torch.Tensor:
    run = choose_form(_operator, SeparableBoxConv, _portable)
    return run(x, boxes, kernel, bias, *options)


def _backward(x, boxes, kernel, output_grad, *options) -> tuple[torch.Tensor, ...]:
    """Returns `(input_grad, boxes_grad, kernel_grad, bias_grad)`."""
    run = choose_form(_grad_operator, SeparableBoxConvGrad, _portable_gradients)
    return run(x, boxes, kernel, output_grad, *options)


# The registered operators.


@torch.library.custom_op("tf_boxconv::separable_box_conv2d", mutates_args=(), device_types="cpu")
def _operator(
    x: torch.Tensor,
    boxes: torch.Tensor,
    kernel: torch.Tensor,
    bias: torch.Tensor,
    strides: Sequence[int],
    normalization: str,
    layout: str,
) -> torch.Tensor:
    x, boxes, kernel, bias = (t.contiguous() for t in (x, boxes, kernel, bias))
    filters = kernel.shape[1]
    out = empty_output(x, filters, strides, layout)
    problem = problem_of(x, layout, boxes.shape[1], strides, normalization)
    call("separable_forward", problem, filters, x, boxes, kernel, bias, out)
    return out


@_operator.register_fake
def _(x, boxes, kernel, bias, strides, normalization, layout):
    return empty_output(x, kernel.shape[1], strides, layout)


@torch.library.custom_op(
    "tf_boxconv::separable_box_conv2d_grad", mutates_args=(), device_types="cpu"
)
def _grad_operator(
    x: torch.Tensor,
    boxes: torch.Tensor,
    kernel: torch.Tensor,
    output_grad: torch.Tensor,
    strides: Sequence[int],
    normalization: str,
    layout: str,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    arguments = [t.contiguous() for t in (x, boxes, kernel, output_grad)]
    x, boxes, kernel, _ = arguments
    filters = kernel.shape[1]
    gradients = *map(torch.empty_like, (x, boxes, kernel)), kernel.new_empty(filters)
    problem = problem_of(x, layout, boxes.shape[1], strides, normalization)
    call("separable_backward", problem, filters, *arguments, *gradients)
    return gradients


@_grad_operator.register_fake
def _(x, boxes, kernel, output_grad, strides, normalization, layout):
    bias_grad = kernel.new_empty(kernel.shape[1])
    return *(t.new_empty(t.shape) for t in (x, boxes, kernel)), bias_grad


# The composition.


def _mix(responses, kernel, bias, layout) -> torch.Tensor:
    """Returns the output, given the responses of the boxes. A bias of None is zero."""
    if layout == "channels_last":
        mixed = responses @ kernel
    else:
        mixed = torch.einsum("nkij,kf->nfij", responses, kernel)
    return mixed if bias is None else mixed + _per_channel(bias, layout)


def _per_channel(bias, layout) -> torch.Tensor:
    """Returns `bias` in a shape that broadcasts to images with a value for each channel."""
    return bias if layout == "channels_last" else bias[:, None, None]


def _kernel_gradient(responses, output_grad, layout) -> torch.Tensor:
    """Returns the gradient of the kernel."""
    images = "nij{}" if layout == "channels_last" else "n{}ij"
    equation = f"{images.format('k')},{images.format('f')}->kf"
    return torch.einsum(equation, responses, output_grad)


def _bias_gradient(output_grad, layout) -> torch.Tensor:
    """Returns the gradient of the bias."""
    return output_grad.sum((0, 1, 2) if layout == "channels_last" else (0, 2, 3))


def _compose(run: Callable, x, boxes, kernel, bias, *options) -> torch.Tensor:
    """Returns the output. `run` computes the box convolution."""
    return _mix(run(x, boxes, *options), kernel, bias, options[-1])


def _compose_gradients(
    run: Callable, run_backward: Callable, x, boxes, kernel, output_grad, *options
) -> tuple[torch.Tensor, ...]:
    """Returns the four gradients. `run_backward` computes those of the box convolution."""
    layout = options[-1]
    responses_grad = _mix(output_grad, kernel.mT, None, layout)
    return (
        *run_backward(x, boxes, responses_grad, *options),
        _kernel_gradient(run(x, boxes, *options), output_grad, layout),
        _bias_gradient(output_grad, layout),
    )


def _portable(*arguments) -> torch.Tensor:
    return _compose(derivatives.portable, *arguments)


def _portable_gradients(*arguments) -> tuple[torch.Tensor, ...]:
    return _compose_gradients(derivatives.portable, derivatives.portable_gradients, *arguments)


# Derivatives of the operators, by the rules of products.


class SeparableBoxConv(torch.autograd.Function):
    """The forward operator of `separable_box_conv2d`."""

    setup_context = staticmethod(save_inputs)

    @staticmethod
    def forward(x, boxes, kernel, bias, *options):
        """Returns the output."""
        return _operator(x, boxes, kernel, bias, *options)

    @staticmethod
    @torch.compiler.disable  # Compiled, it would read saved tensors twice; checkpoints refuse that.
    def backward(ctx, output_grad):
        """Returns the four gradients, and None for each option."""
        if output_grad is None:
            return (None,) * 7
        x, boxes, kernel, _ = ctx.saved_tensors
        return *_backward(x, boxes, kernel, output_grad, *ctx.options), None, None, None

    @staticmethod
    def jvp(ctx, x_tangent, boxes_tangent, kernel_tangent, bias_tangent, *_):
        """Returns the tangent of the output."""
        x, boxes, kernel, bias = ctx.saved_tensors
        layout = ctx.options[-1]
        total = None
        responses_tangent = box_conv.tangent(x, boxes, x_tangent, boxes_tangent, *ctx.options)
        if responses_tangent is not None:
            total = _mix(responses_tangent, kernel, None, layout)
        if kernel_tangent is not None:
            responses = box_conv.forward(x, boxes, *ctx.options)
            total = add(total, _mix(responses, kernel_tangent, None, layout))
        if bias_tangent is not None:
            if total is None:
                total = torch.zeros_like(empty_output(x, len(bias), ctx.options[0], layout))
            total = total + _per_channel(bias_tangent, layout)
        return total

    @staticmethod
    def vmap(info, in_dims, x, boxes, kernel, bias, *options):
        """Merges the mapped axis into the batch, unless boxes, kernel or bias are mapped too."""
        if in_dims[1:4] == (None, None, None):
            x = fold(x, in_dims[0], 0, info.batch_size)
            return unfold(_forward(x, boxes, kernel, bias, *options), 0, info.batch_size), 0

        def composed(*tensors):
            return _compose(box_conv.forward, *tensors, *options)

        return torch.vmap(composed, in_dims[:4])(x, boxes, kernel, bias), 0


class SeparableBoxConvGrad(torch.autograd.Function):
    """The gradient operator of `separable_box_conv2d`."""

    setup_context = staticmethod(save_inputs)

    @staticmethod
    def forward(x, boxes, kernel, output_grad, *options):
        """Returns `(input_grad, boxes_grad, kernel_grad, bias_grad)`."""
        return _grad_operator(x, boxes, kernel, output_grad, *options)

    @staticmethod
    @torch.compiler.disable  # Compiled, it would read saved tensors twice; checkpoints refuse that.
    def backward(ctx, of_input_grad, of_boxes_grad, of_kernel_grad, of_bias_grad):
        """Back-propagates through the gradients to `(x, boxes, kernel, output_grad)`."""
        x, boxes, kernel, output_grad = ctx.saved_tensors
        layout = ctx.options[-1]
        to_x = to_boxes = to_kernel = to_output_grad = None
        if of_input_grad is not None or of_boxes_grad is not None:
            responses_grad = _mix(output_grad, kernel.mT, None, layout)
            to_x, to_boxes, to_responses_grad = box_conv.second_gradients(
                x, boxes, responses_grad, of_input_grad, of_boxes_grad, *ctx.options
            )
            to_kernel = _kernel_gradient(to_responses_grad, output_grad, layout)
            to_output_grad = _mix(to_responses_grad, kernel, None, layout)
        if of_kernel_grad is not None:
            responses = box_conv.forward(x, boxes, *ctx.options)
            to_responses = _mix(output_grad, of_kernel_grad.mT, None, layout)
            more_to_x, more_to_boxes = box_conv.backward(x, boxes, to_responses, *ctx.options)
            to_x, to_boxes = add(to_x, more_to_x), add(to_boxes, more_to_boxes)
            to_output_grad = add(to_output_grad, _mix(responses, of_kernel_grad, None, layout))
        if of_bias_grad is not None:
            through_bias = _per_channel(of_bias_grad, layout).expand_as(output_grad)
            to_output_grad = add(to_output_grad, through_bias)
        return to_x, to_boxes, to_kernel, to_output_grad, None, None, None

    @staticmethod
    def jvp(ctx, x_tangent, boxes_tangent, kernel_tangent, output_grad_tangent, *_):
        """Returns the tangents of the four gradients."""
        x, boxes, kernel, output_grad = ctx.saved_tensors
        layout = ctx.options[-1]
        responses_grad_tangent = kernel_grad_tangent = bias_grad_tangent = None
        if output_grad_tangent is not None:
            responses_grad_tangent = _mix(output_grad_tangent, kernel.mT, None, layout)
            responses = box_conv.forward(x, boxes, *ctx.options)
            kernel_grad_tangent = _kernel_gradient(responses, output_grad_tangent, layout)
            bias_grad_tangent = _bias_gradient(output_grad_tangent, layout)
        if kernel_tangent is not None:
            responses_grad_tangent = add(
                responses_grad_tangent, _mix(output_grad, kernel_tangent.mT, None, layout)
            )
        responses_tangent = box_conv.tangent(x, boxes, x_tangent, boxes_tangent, *ctx.options)
        if responses_tangent is not None:
            kernel_grad_tangent = add(
                kernel_grad_tangent, _kernel_gradient(responses_tangent, output_grad, layout)
            )
        responses_grad = _mix(output_grad, kernel.mT, None, layout)
        tangents = box_conv.gradient_tangents(
            *(x, boxes, responses_grad, x_tangent, boxes_tangent, responses_grad_tangent),
            *ctx.options,
        )
        return *tangents, kernel_grad_tangent, bias_grad_tangent

    @staticmethod
    def vmap(info, in_dims, x, boxes, kernel, output_grad, *options):
        """Maps the composition: each index of the mapped axis has gradients of its own."""

        def composed(*tensors):
            return _compose_gradients(box_conv.forward, box_conv.backward, *tensors, *options)

        gradients = torch.vmap(composed, in_dims[:4])(x, boxes, kernel, output_grad)
        return gradients, (0, 0, 0, 0)


_operator.register_autograd(SeparableBoxConv.backward, setup_context=save_inputs)
_grad_operator.register_autograd(SeparableBoxConvGrad.backward, setup_context=save_inputs)
