"""Which data format a tensor has in memory, whatever its shape says."""

from __future__ import annotations

from collections.abc import Callable

import torch

_TO_LAST, _TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


def in_memory_order(
    x: torch.Tensor, data_format: str
) -> tuple[torch.Tensor, str, Callable[[torch.Tensor], torch.Tensor]]:
    """Returns `x` with its axes in the order of its memory, if that is one of the two formats.

    Keras's convolutions on PyTorch give channels-last images that lie in memory channels first,
    and PyTorch's `channels_last` memory format is the opposite. There are kernels for both, so
    nothing need be copied.

    Returns:
        x: A view, or the tensor itself.
        data_format: That of the view.
        restore: Gives an output for the view the order of axes that `x` had.
    """
    if not x.is_contiguous():
        last = data_format == "channels_last"
        there, back = (_TO_FIRST, _TO_LAST) if last else (_TO_LAST, _TO_FIRST)
        view = x.permute(there)
        if view.is_contiguous():
            other = "channels_first" if last else "channels_last"
            return view, other, lambda out: out.permute(back)
    return x, data_format, lambda out: out
