"""Supports `torch.vmap` without a loop: merges the mapped axis into the batch or the channels."""

from __future__ import annotations

import torch


def fold(x: torch.Tensor, mapped: int | None, axis: int, size: int) -> torch.Tensor:
    """Merges the mapped axis into another axis, as its outer part.

    Args:
        x: The tensor.
        mapped: Its mapped axis. None repeats the tensor `size` times.
        axis: The axis to merge into, numbered as if there were no mapped axis.
        size: The length of the mapped axis.
    """
    if mapped is None:
        x = x.unsqueeze(axis).expand(*x.shape[:axis], size, *x.shape[axis:])
    else:
        x = x.movedim(mapped, axis)
    return x.flatten(axis, axis + 1)


def unfold(x: torch.Tensor, axis: int, size: int) -> torch.Tensor:
    """Undoes `fold`: splits the mapped axis off and makes it axis `axis`."""
    return x.unflatten(axis, (size, x.shape[axis] // size))
