"""Finds the data format of a tensor in memory. It may differ from that of the tensor's shape."""

from __future__ import annotations

from collections.abc import Callable

import torch

_TO_LAST, _TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


def in_memory_order(
    x: torch.Tensor, data_format: str
) -> tuple[torch.Tensor, str, Callable[[torch.Tensor], torch.Tensor]]:
    """Returns `x`, or a contiguous view of it in the other data format if only that exists.

    Keras's convolutions on PyTorch return channels-last images that are channels-first in memory.
    In PyTorch's `channels_last` memory format it is the other way round. The kernels support both
    data formats, so that no copy is needed.

    Returns:
        x: The view, or `x` itself.
        data_format: The data format of the view.
        restore: A function that permutes the axes of an output to the original data format.
    """
    if not x.is_contiguous():
        last = data_format == "channels_last"
        to_view, from_view = (_TO_FIRST, _TO_LAST) if last else (_TO_LAST, _TO_FIRST)
        view = x.permute(to_view)
        if view.is_contiguous():
            other = "channels_first" if last else "channels_last"
            return view, other, lambda out: out.permute(from_view)
    return x, data_format, lambda out: out
