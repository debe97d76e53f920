"""The CUDA library without a GPU: its sources, emulated on the CPU, with NumPy arrays as memory."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

from benchmarks.gpu.library import CUSTOM_OPS, compilations

TESTS_CORE = Path(__file__).resolve().parents[1] / "core"


def build(folder: Path) -> Path:
    """Compiles core's CUDA sources with the C++ compiler."""
    includes = [f"-I{TESTS_CORE / 'emulated'}", f"-I{TESTS_CORE}", f"-I{CUSTOM_OPS}"]
    flags = ["-x", "c++", "-std=c++17", "-O1", "-fPIC", *includes]
    for name, arguments in compilations().items():
        subprocess.run(["c++", *flags, "-c", *arguments, "-o", folder / name], check=True)
    library = folder / "libboxconv_cuda.so"
    objects = [folder / name for name in compilations()]
    subprocess.run(["c++", "-shared", *objects, "-o", library], check=True)
    return library


class NumpyDevice:
    """The host as a device. It has the interface of `benchmarks.gpu.device.Gpu`."""

    name = "emulation"

    def empty(self, size: int) -> np.ndarray:
        return self.filled(size, 255)

    def filled(self, size: int, byte: int) -> np.ndarray:
        return np.full(size, byte, np.uint8)

    def upload(self, array: np.ndarray) -> np.ndarray:
        return np.frombuffer(array.tobytes() or b"\0", np.uint8).copy()

    def download(self, data: np.ndarray) -> np.ndarray:
        return data

    def address(self, data: np.ndarray) -> int:
        return data.ctypes.data

    def stream(self) -> int:
        return 0
