"""Calls the C API of the core library with PyTorch tensors."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch

from tf_boxconv.backends.library import load_core_library

# In the order of the enums in custom_ops/core/c_api/boxconv.h.
_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_LAYOUTS = ("channels_last", "channels_first")
_NORMALIZATIONS = ("none", "area", "valid")


class _Problem(ctypes.Structure):
    """The struct `boxconv_problem` of custom_ops/core/c_api/boxconv.h."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("batch", "height", "width", "channels")),
        *((name, ctypes.c_int64) for name in ("boxes_per_channel", "stride_y", "stride_x")),
        *((name, ctypes.c_int32) for name in ("layout", "normalization", "dtype")),
    ]


def _load() -> ctypes.CDLL:
    library = load_core_library()
    problem, pointer = ctypes.POINTER(_Problem), ctypes.c_void_p
    int32, int64 = ctypes.c_int32, ctypes.c_int64
    for name, arguments in (
        ("forward", [pointer] * 3),
        ("backward", [pointer] * 5),
        ("separable_forward", [int64, *[pointer] * 5]),
        ("separable_backward", [int64, *[pointer] * 8]),
        ("integral_image", [int32, pointer, pointer]),
    ):
        function = getattr(library, f"boxconv_cpu_{name}")
        function.argtypes = [problem, *arguments, int32]
        function.restype = ctypes.c_char_p
    return library


_library = _load()


def problem_of(
    x: torch.Tensor,
    layout: str,
    boxes_per_channel: int = 0,
    strides: Sequence[int] = (1, 1),
    normalization: str = "none",
) -> _Problem:
    """Returns the C struct that describes a call for contiguous images `x`."""
    batch, *sizes = x.shape
    height, width, channels = sizes if layout == "channels_last" else (*sizes[1:], sizes[0])
    return _Problem(
        batch,
        height,
        width,
        channels,
        boxes_per_channel,
        *strides,
        _LAYOUTS.index(layout),
        _NORMALIZATIONS.index(normalization),
        _DTYPES.index(x.dtype),
    )


def call(name: str, problem: _Problem, *arguments: torch.Tensor | int) -> None:
    """Calls `boxconv_cpu_<name>` with the number of threads that PyTorch uses.

    Tensors must be contiguous and on the CPU. The call releases the GIL.
    """
    values = [a.data_ptr() if isinstance(a, torch.Tensor) else a for a in arguments]
    function = getattr(_library, f"boxconv_cpu_{name}")
    error = function(ctypes.byref(problem), *values, torch.get_num_threads())
    if error is not None:
        raise RuntimeError(f"tf_boxconv: {error.decode()}")
