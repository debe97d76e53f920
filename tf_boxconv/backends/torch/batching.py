"""`torch.vmap` without loops: the mapped axis joins one that the kernels iterate over anyway."""

from __future__ import annotations

import torch


def channel_axis(layout: str) -> int:
    """The axis of the channels in images."""
    return 3 if layout == "channels_last" else 1


def fold(x: torch.Tensor, mapped: int | None, axis: int, size: int) -> torch.Tensor:
    """Merges the mapped axis into `axis` of the unmapped tensor, outermost.

    Args:
        x: The tensor.
        mapped: Its mapped axis. None repeats the tensor `size` times.
        axis: The axis to merge into, as numbered without the mapped one.
        size: The length of the mapped axis.
    """
    if mapped is None:
        x = x.unsqueeze(axis).expand(*x.shape[:axis], size, *x.shape[axis:])
    else:
        x = x.movedim(mapped, axis)
    return x.flatten(axis, axis + 1)


def unfold(x: torch.Tensor, axis: int, size: int) -> torch.Tensor:
    """Splits the mapped axis off again, as axis number `axis`."""
    return x.unflatten(axis, (size, x.shape[axis] // size))
