"""Which form of an operator runs, so that every mode of differentiation is right.

| form | used by | because |
| --- | --- | --- |
| registered operator | `torch.compile`, `torch.export`, `torch.jit.trace` | they record operators |
| `autograd.Function` | everything else | `torch.func` and forward mode need its rules |
| portable path | see `needs_portable` | PyTorch would give zeros or an error |
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.autograd import forward_ad

from tf_boxconv.backends.exporters import called_by_exporter


def exporting() -> bool:
    """Whether the caller is traced for a runtime that lacks the compiled operators."""
    # `torch.compile` cannot follow a walk up the call stack, so there only the flag is read.
    if torch.compiler.is_compiling():
        return torch.compiler.is_exporting()
    return torch.onnx.is_in_onnx_export() or (torch.jit.is_tracing() and called_by_exporter())


def suitable(operator: Callable, function: type, portable: Callable) -> Callable:
    """Returns the form that differentiates correctly in the caller's context."""
    recording = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if needs_portable(recording):
        return portable
    return operator if recording else function.apply


def needs_portable(recording: bool) -> bool:
    """Whether only the portable path has the derivatives that the caller may take.

    Registered operators have no forward mode and no rules for `torch.func`. PyTorch switches
    forward mode off inside `Function.jvp`, so a second forward derivative would be zero.
    """
    transformed = torch._C._are_functorch_transforms_active()
    if recording:
        return transformed or forward_ad._current_level >= 0
    return transformed and _forward_levels() > 1


def _forward_levels() -> int:
    stack = torch._C._functorch.get_interpreter_stack() or ()
    forward_mode = torch._C._functorch.TransformType.Jvp
    return sum(interpreter.key() == forward_mode for interpreter in stack)
