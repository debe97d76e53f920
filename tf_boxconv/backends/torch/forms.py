"""Chooses the form of an operator that PyTorch differentiates correctly.

| form | used in | reason |
| --- | --- | --- |
| registered operator | `torch.compile`, `torch.export`, `torch.jit.trace` | they record operators |
| `autograd.Function` | all other cases | has rules for `torch.func` and forward mode |
| portable path | see `needs_portable` | the others would give zeros or an error |
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.autograd import forward_ad

from tf_boxconv.backends.exporters import called_by_exporter


def exporting() -> bool:
    """Returns whether an exporter traces the caller for a runtime without compiled operators."""
    # `torch.compile` cannot trace `called_by_exporter`.
    if torch.compiler.is_compiling():
        return torch.compiler.is_exporting()
    return torch.onnx.is_in_onnx_export() or (torch.jit.is_tracing() and called_by_exporter())


def choose_form(operator: Callable, function: type, portable: Callable) -> Callable:
    """Returns one of the three forms of an operator, depending on the context of the call.

    Args:
        operator: The registered operator.
        function: The `autograd.Function`.
        portable: The portable path.
    """
    recording = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if needs_portable(recording):
        return portable
    return operator if recording else function.apply


def needs_portable(recording: bool) -> bool:
    """Returns whether only the portable path supports the derivatives that the caller may take.

    Registered operators support neither forward mode nor `torch.func`. An `autograd.Function`
    supports forward mode once: PyTorch disables it inside `Function.jvp`, so that a second
    derivative would be zero.

    Args:
        recording: Whether the caller is being compiled, exported or traced.
    """
    transformed = torch._C._are_functorch_transforms_active()
    if recording:
        return transformed or forward_ad._current_level >= 0
    return transformed and _forward_levels() > 1


def _forward_levels() -> int:
    stack = torch._C._functorch.get_interpreter_stack() or ()
    forward_mode = torch._C._functorch.TransformType.Jvp
    return sum(interpreter.key() == forward_mode for interpreter in stack)
