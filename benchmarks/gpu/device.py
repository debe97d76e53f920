"""Memory, stream and clock of the GPU, through PyTorch or CuPy."""

from __future__ import annotations

import os

import numpy as np

from benchmarks.gpu.library import GpuError


class TorchDevice:
    """PyTorch's current GPU. Arrays are tensors of bytes."""

    def __init__(self, pooled: bool = True):
        if not pooled:
            os.environ["PYTORCH_NO_CUDA_MEMORY_CACHING"] = "1"
        import torch

        if not torch.cuda.is_available():
            raise GpuError("PyTorch sees no CUDA GPU")
        self.torch = torch
        self.name = f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}"
        self.architecture = "sm_{}{}".format(*torch.cuda.get_device_capability())

    def free_bytes(self) -> int:
        """Returns the number of free bytes."""
        return self.torch.cuda.mem_get_info()[0]

    def filled(self, size: int, byte: int):
        """Allocates `size` bytes of value `byte`."""
        return self.empty(size).fill_(byte)

    def empty(self, size: int):
        """Allocates `size` uninitialized bytes."""
        return self.torch.empty(size, dtype=self.torch.uint8, device="cuda")

    def upload(self, array: np.ndarray):
        """Copies the bytes of an array to the device."""
        data = np.frombuffer(np.ascontiguousarray(array).tobytes() or b"\0", np.uint8).copy()
        return self.torch.from_numpy(data).cuda()

    def download(self, data) -> np.ndarray:
        """Waits for a device array and copies its bytes to the host."""
        return data.cpu().numpy()

    def address(self, data) -> int:
        """Returns the device address of an array."""
        return data.data_ptr()

    def stream(self) -> int:
        """Returns the current `cudaStream_t`."""
        return self.torch.cuda.current_stream().cuda_stream

    def seconds(self, call, repeats: int) -> float:
        """Returns the time of `repeats` calls, measured by the device."""
        start, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(repeats):
            call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3


class CupyDevice:
    """CuPy's current GPU. Arrays are CuPy arrays of bytes."""

    torch = None

    def __init__(self, pooled: bool = True):
        import cupy

        try:
            properties = cupy.cuda.runtime.getDeviceProperties(0)
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise GpuError(f"CuPy sees no CUDA GPU: {error}") from error
        if not pooled:
            cupy.cuda.set_allocator(None)
        self._cupy = cupy
        self.name = f"{properties['name'].decode()}, CuPy {cupy.__version__}"
        self.architecture = f"sm_{properties['major']}{properties['minor']}"

    def free_bytes(self) -> int:
        """Returns the number of free bytes."""
        return self._cupy.cuda.runtime.memGetInfo()[0]

    def filled(self, size: int, byte: int):
        """Allocates `size` bytes of value `byte`."""
        array = self.empty(size)
        array.fill(byte)
        return array

    def empty(self, size: int):
        """Allocates `size` uninitialized bytes."""
        return self._cupy.empty(size, np.uint8)

    def upload(self, array: np.ndarray):
        """Copies the bytes of an array to the device."""
        return self._cupy.asarray(np.frombuffer(array.tobytes() or b"\0", np.uint8))

    def download(self, data) -> np.ndarray:
        """Waits for a device array and copies its bytes to the host."""
        return self._cupy.asnumpy(data)

    def address(self, data) -> int:
        """Returns the device address of an array."""
        return data.data.ptr

    def stream(self) -> int:
        """Returns the current `cudaStream_t`."""
        return self._cupy.cuda.get_current_stream().ptr

    def seconds(self, call, repeats: int) -> float:
        """Returns the time of `repeats` calls, measured by the device."""
        start, end = self._cupy.cuda.Event(), self._cupy.cuda.Event()
        start.record()
        for _ in range(repeats):
            call()
        end.record()
        end.synchronize()
        return self._cupy.cuda.get_elapsed_time(start, end) / 1e3


def find_device(pooled: bool = True):
    """Returns the GPU, through PyTorch or else CuPy.

    Args:
        pooled: Whether arrays may come from the package's memory pool. Pass False to run under
            compute-sanitizer, which cannot detect access outside of arrays in a pool, or
            uninitialized reads from it.

    Raises:
        GpuError: Neither package is installed, or there is no GPU.
    """
    problem = "neither PyTorch nor CuPy is installed; one of them is needed for device memory"
    for device in (TorchDevice, CupyDevice):
        try:
            return device(pooled)
        except ImportError:
            continue
        except GpuError as error:
            problem = str(error)
    raise GpuError(problem)
