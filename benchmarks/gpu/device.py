"""Memory, streams, graphs and clock of the GPU, through the driver's library and nothing else."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np

from benchmarks.gpu.library import GpuError

_NON_BLOCKING_STREAM = 1
_CAPTURE_THREAD_LOCAL = 1
_ATTRIBUTES = {"major": 75, "minor": 76}


class Array:
    """Bytes of device memory. `array[begin:end]` is a part of it, which keeps all of it alive."""

    def __init__(self, address: int, size: int, owner: object):
        self.address, self.size, self._owner = address, size, owner

    def __getitem__(self, part: slice) -> Array:
        begin, end, _ = part.indices(self.size)
        return Array(self.address + begin, end - begin, self._owner)


class _Allocation:
    """Device memory that is freed with this object."""

    def __init__(self, gpu: Gpu, size: int):
        self._gpu, self.address = gpu, ctypes.c_uint64()
        gpu.call("cuMemAlloc_v2", ctypes.byref(self.address), ctypes.c_size_t(max(size, 1)))

    def __del__(self):
        if self.address.value:
            self._gpu.call("cuMemFree_v2", self.address)


class Gpu:
    """The first GPU.

    Work is queued on a stream of its own, which does not wait for stream 0, or on stream 0 while
    `uses_stream_0` is True.
    """

    uses_stream_0 = False

    def __init__(self):
        try:
            self._driver = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise GpuError(f"no CUDA driver: {error}") from error
        device, context, stream = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
        self.call("cuInit", 0)
        self.call("cuDeviceGet", ctypes.byref(device), 0)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self.call("cuCtxSetCurrent", context)
        self.call("cuStreamCreate", ctypes.byref(stream), _NON_BLOCKING_STREAM)
        self._stream = stream
        name = ctypes.create_string_buffer(100)
        self.call("cuDeviceGetName", name, 100, device)
        self.name = name.value.decode()
        values = {}
        for key, number in _ATTRIBUTES.items():
            value = ctypes.c_int()
            self.call("cuDeviceGetAttribute", ctypes.byref(value), number, device)
            values[key] = value.value
        self.architecture = f"sm_{values['major']}{values['minor']}"

    def call(self, name: str, *arguments) -> None:
        """Calls a function of the driver.

        Raises:
            GpuError: The function reports an error.
        """
        code = getattr(self._driver, name)(*arguments)
        if code != 0:
            text = ctypes.c_char_p()
            self._driver.cuGetErrorString(code, ctypes.byref(text))
            raise GpuError(f"{name}: {(text.value or b'error').decode()} ({code})")

    def free_bytes(self) -> int:
        """Returns the number of free bytes."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self.call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value

    def empty(self, size: int) -> Array:
        """Allocates `size` uninitialized bytes."""
        allocation = _Allocation(self, size)
        return Array(allocation.address.value, size, allocation)

    def filled(self, size: int, byte: int) -> Array:
        """Allocates `size` bytes of value `byte`."""
        array = self.empty(size)
        address = ctypes.c_uint64(array.address)
        self.call("cuMemsetD8_v2", address, ctypes.c_ubyte(byte), ctypes.c_size_t(size))
        self.synchronize()
        return array

    def upload(self, array: np.ndarray) -> Array:
        """Copies the bytes of an array to the device."""
        data = np.ascontiguousarray(array)
        target = self.empty(data.nbytes)
        address = ctypes.c_uint64(target.address)
        self.call("cuMemcpyHtoD_v2", address, data.ctypes.data_as(ctypes.c_void_p), data.nbytes)
        self.synchronize()
        return target

    def download(self, array: Array) -> np.ndarray:
        """Waits for all work and copies the bytes of a device array to the host."""
        self.synchronize()
        data = np.empty(array.size, np.uint8)
        target = data.ctypes.data_as(ctypes.c_void_p)
        size = ctypes.c_size_t(array.size)
        self.call("cuMemcpyDtoH_v2", target, ctypes.c_uint64(array.address), size)
        return data

    def copy(self, source: Array, target: Array) -> None:
        """Queues a copy from device memory to device memory."""
        addresses = ctypes.c_uint64(target.address), ctypes.c_uint64(source.address)
        self.call("cuMemcpyDtoDAsync_v2", *addresses, ctypes.c_size_t(source.size), self._stream)

    def address(self, array: Array) -> int:
        """Returns the device address of an array."""
        return array.address

    def stream(self) -> int:
        """Returns the `cudaStream_t` on which work is queued."""
        return 0 if self.uses_stream_0 else self._stream.value

    def synchronize(self) -> None:
        """Waits for all work.

        Raises:
            GpuError: A kernel failed.
        """
        self.call("cuCtxSynchronize")

    def in_graph(self, call: Callable[[], object]) -> Callable[[], None]:
        """Captures the work that `call` queues into a CUDA graph; returns what launches it."""
        graph, executable = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("cuStreamBeginCapture_v2", self._stream, _CAPTURE_THREAD_LOCAL)
        try:
            call()
        finally:
            self.call("cuStreamEndCapture", self._stream, ctypes.byref(graph))
        flags = ctypes.c_ulonglong(0)
        self.call("cuGraphInstantiateWithFlags", ctypes.byref(executable), graph, flags)
        return lambda: self.call("cuGraphLaunch", executable, self._stream)

    def seconds(self, call: Callable[[], object], repeats: int) -> float:
        """Returns the time of `repeats` calls, measured by the device."""
        start, end, elapsed = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_float()
        for event in (start, end):
            self.call("cuEventCreate", ctypes.byref(event), 0)
        self.call("cuEventRecord", start, self._stream)
        for _ in range(repeats):
            call()
        self.call("cuEventRecord", end, self._stream)
        self.call("cuEventSynchronize", end)
        self.call("cuEventElapsedTime", ctypes.byref(elapsed), start, end)
        for event in (start, end):
            self.call("cuEventDestroy_v2", event)
        return elapsed.value / 1e3
