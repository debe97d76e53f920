"""`integral_image` on PyTorch, differentiable in every mode and to any order."""

from __future__ import annotations

import torch

from tf_boxconv.backends.torch.batching import fold, unfold
from tf_boxconv.backends.torch.forms import choose_form, exporting
from tf_boxconv.backends.torch.library import call, problem_of


def integral_image(x: torch.Tensor, data_format: str, dtype: str) -> torch.Tensor:
    """Computes `tf_boxconv.integral_image` on arguments that are checked already."""
    if x.device.type != "cpu" or exporting():
        return _portable(x, data_format, dtype)
    return _integral_image(x, data_format, dtype)


def _integral_image(x: torch.Tensor, layout: str, dtype: str) -> torch.Tensor:
    return choose_form(_operator, IntegralImage, _portable)(x, layout, dtype)


def _portable(x: torch.Tensor, layout: str, dtype: str) -> torch.Tensor:
    # Not `integral_image_portable`: Keras's operations would move tensors to its default device.
    rows, columns = _axes(layout)
    sums = x.to(getattr(torch, dtype)).cumsum(rows).cumsum(columns)
    border = (0, 0, 1, 0, 1, 0) if layout == "channels_last" else (1, 0, 1, 0)
    return torch.nn.functional.pad(sums, border)


@torch.library.custom_op("tf_boxconv::integral_image", mutates_args=(), device_types="cpu")
def _operator(x: torch.Tensor, layout: str, dtype: str) -> torch.Tensor:
    x = x.contiguous()
    table = _empty_table(x, layout, dtype)
    call("integral_image", problem_of(x, layout), int(dtype == "float32"), x, table)
    return table


@_operator.register_fake
def _empty_table(x, layout, dtype) -> torch.Tensor:
    batch, *sizes = x.shape
    rows, columns = _axes(layout)
    shape = [batch, *(s + (i in (rows, columns)) for i, s in enumerate(sizes, 1))]
    return x.new_empty(shape, dtype=getattr(torch, dtype))


def _axes(layout: str) -> tuple[int, int]:
    return (1, 2) if layout == "channels_last" else (2, 3)


def _save_options(ctx, inputs, output) -> None:
    x, ctx.layout, ctx.table_dtype = inputs
    ctx.dtype = x.dtype


class IntegralImage(torch.autograd.Function):
    """`integral_image`, which is linear in the images."""

    setup_context = staticmethod(_save_options)

    @staticmethod
    def forward(x, layout, dtype):
        """Returns the tables."""
        return _operator(x, layout, dtype)

    @staticmethod
    def backward(ctx, table_grad):
        """Sums the gradient from the bottom right corner.

        Each entry of the table contains all pixels above and to the left of it. So the gradient of
        a pixel is the sum over all entries below and to the right of it.
        """
        axes = _axes(ctx.layout)

        def without_border(table):
            return table[:, 1:, 1:] if ctx.layout == "channels_last" else table[:, :, 1:, 1:]

        dtype = str(table_grad.dtype).removeprefix("torch.")
        flipped = without_border(table_grad).flip(axes)
        sums = _integral_image(flipped, ctx.layout, dtype)
        return without_border(sums).flip(axes).to(ctx.dtype), None, None

    @staticmethod
    def jvp(ctx, x_tangent, *_):
        """Returns the tables of the tangent."""
        return _integral_image(x_tangent, ctx.layout, ctx.table_dtype)

    @staticmethod
    def vmap(info, in_dims, x, *options):
        """Merges the mapped axis into the batch."""
        table = _integral_image(fold(x, in_dims[0], 0, info.batch_size), *options)
        return unfold(table, 0, info.batch_size), 0


_operator.register_autograd(IntegralImage.backward, setup_context=_save_options)
