"""The GPU through PyTorch or CuPy, whichever is installed: memory, stream and clock."""

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
        """Memory that is free."""
        return self.torch.cuda.mem_get_info()[0]

    def filled(self, size: int, byte: int):
        """Some equal bytes."""
        return self.empty(size).fill_(byte)

    def empty(self, size: int):
        """Some bytes, not initialised."""
        return self.torch.empty(size, dtype=self.torch.uint8, device="cuda")

    def upload(self, array: np.ndarray):
        """The bytes of an array, on the device."""
        data = np.frombuffer(np.ascontiguousarray(array).tobytes() or b"\0", np.uint8).copy()
        return self.torch.from_numpy(data).cuda()

    def download(self, data) -> np.ndarray:
        """The bytes of a device array; waits for them."""
        return data.cpu().numpy()

    def address(self, data) -> int:
        """Where its bytes begin."""
        return data.data_ptr()

    def stream(self) -> int:
        """The current `cudaStream_t`."""
        return self.torch.cuda.current_stream().cuda_stream

    def seconds(self, call, repeats: int) -> float:
        """Time of `repeats` calls by the device's own clock."""
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
        """Memory that is free."""
        return self._cupy.cuda.runtime.memGetInfo()[0]

    def filled(self, size: int, byte: int):
        """Some equal bytes."""
        array = self.empty(size)
        array.fill(byte)
        return array

    def empty(self, size: int):
        """Some bytes, not initialised."""
        return self._cupy.empty(size, np.uint8)

    def upload(self, array: np.ndarray):
        """The bytes of an array, on the device."""
        return self._cupy.asarray(np.frombuffer(array.tobytes() or b"\0", np.uint8))

    def download(self, data) -> np.ndarray:
        """The bytes of a device array; waits for them."""
        return self._cupy.asnumpy(data)

    def address(self, data) -> int:
        """Where its bytes begin."""
        return data.data.ptr

    def stream(self) -> int:
        """The current `cudaStream_t`."""
        return self._cupy.cuda.get_current_stream().ptr

    def seconds(self, call, repeats: int) -> float:
        """Time of `repeats` calls by the device's own clock."""
        start, end = self._cupy.cuda.Event(), self._cupy.cuda.Event()
        start.record()
        for _ in range(repeats):
            call()
        end.record()
        end.synchronize()
        return self._cupy.cuda.get_elapsed_time(start, end) / 1e3


def find_device(pooled: bool = True):
    """The GPU, through the first package that is installed and sees it.

    Args:
        pooled: Whether arrays may come from the package's pool of memory, in which tools that
            watch for accesses beyond an array's end, or to memory never written, see no arrays.

    Raises:
        GpuError: if there is no such package, or no GPU.
    """
    problem = "neither PyTorch nor CuPy is installed: one of them brings device memory"
    for device in (TorchDevice, CupyDevice):
        try:
            return device(pooled)
        except ImportError:
            continue
        except GpuError as error:
            problem = str(error)
    raise GpuError(problem)
