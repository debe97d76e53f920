"""The GPU through PyTorch or CuPy, whichever is installed: memory, stream and clock."""

from __future__ import annotations

import numpy as np

from benchmarks.gpu.library import GpuError


class TorchDevice:
    """PyTorch's current GPU. Arrays are tensors of bytes."""

    def __init__(self):
        import torch

        if not torch.cuda.is_available():
            raise GpuError("PyTorch sees no CUDA GPU")
        self.torch = torch
        self.name = f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}"

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

    def __init__(self):
        import cupy

        try:
            properties = cupy.cuda.runtime.getDeviceProperties(0)
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise GpuError(f"CuPy sees no CUDA GPU: {error}") from error
        self._cupy = cupy
        self.name = f"{properties['name'].decode()}, CuPy {cupy.__version__}"

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


def find_device():
    """The GPU, through the first package that is installed.

    Raises:
        GpuError: if there is no such package, or no GPU.
    """
    for device in (TorchDevice, CupyDevice):
        try:
            return device()
        except ImportError:
            continue
    raise GpuError("neither PyTorch nor CuPy is installed: one of them brings device memory")
