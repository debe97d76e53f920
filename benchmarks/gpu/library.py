"""Builds `libboxconv_cuda.so` with nvcc for the present GPU, and calls its functions."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CUSTOM_OPS = ROOT / "custom_ops"
BUILD = ROOT / "build" / "gpu"

DTYPES = ("float16", "bfloat16", "float32", "float64")  # in the order of the C interface
LAYOUTS = ("channels_last", "channels_first")
NORMALIZATIONS = (None, "area", "valid")
CORE_TYPES = {"Half": "float", "BFloat16": "float", "float": "float", "double": "double"}


class GpuError(RuntimeError):
    """The library, its compiler or a GPU is missing, or the library reports an error."""


def find_nvcc() -> str:
    """Finds nvcc in `CUDACXX`, on the `PATH` or in /usr/local/cuda."""
    for candidate in (os.environ.get("CUDACXX"), shutil.which("nvcc"), "/usr/local/cuda/bin/nvcc"):
        if candidate and Path(candidate).exists():
            return candidate
    raise GpuError("nvcc was not found: put it on the PATH, or set CUDACXX to its path")


def compilations() -> dict[str, list[str]]:
    """Returns the source and macro definitions of each object file."""
    compilations = {
        f"box_conv_{type_}.o": [
            str(CUSTOM_OPS / "core/cuda/box_conv.cu"),
            f"-DBOXCONV_CUDA_TYPE={type_}",
            f"-DBOXCONV_CUDA_BOX_TYPE={box_type}",
        ]
        for type_, box_type in CORE_TYPES.items()
    }
    compilations["integral_image.o"] = [str(CUSTOM_OPS / "core/cuda/integral_image.cu")]
    compilations["box_conv_c.o"] = [str(CUSTOM_OPS / "core/c_api/boxconv_cuda.cc")]
    return compilations


def build(architecture: str) -> Path:
    """Compiles all sources in parallel and links them; returns the library's path.

    Prints the registers of the kernels that slide windows, and every kernel that spills some.
    """
    folder = BUILD / architecture
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / "libboxconv_cuda.so"
    sources = [*CUSTOM_OPS.glob("core/**/*.*"), Path(__file__)]
    if library.exists() and library.stat().st_mtime > max(s.stat().st_mtime for s in sources):
        return library
    flags = ["-std=c++17", "-O3", "-DNDEBUG", f"-arch={architecture}", f"-I{CUSTOM_OPS}"]
    flags += ["-Xcompiler", "-fPIC,-fvisibility=hidden", "-Xptxas", "-v"]
    nvcc = find_nvcc()
    running = []
    for name, arguments in compilations().items():
        command = [nvcc, *flags, "-c", *arguments, "-o", str(folder / name)]
        running.append((name, subprocess.Popen(command, stderr=subprocess.PIPE, text=True)))
    failed = []
    for name, process in running:
        messages = process.communicate()[1]
        print_registers(name, messages)
        if process.returncode != 0:
            print(messages, flush=True)
            failed.append(name)
    if failed:
        raise GpuError(f"nvcc could not compile {', '.join(failed)}")
    objects = [str(folder / name) for name, _ in running]
    link = [nvcc, "-shared", f"-arch={architecture}", "-cudart", "static", *objects]
    subprocess.run([*link, "-o", str(library)], check=True)
    return library


def print_registers(name: str, messages: str) -> None:
    """Prints what ptxas says about the kernels of an object file."""
    pattern = r"function '(\w+)'.*?(\d+) bytes spill stores.*?Used (\d+) registers"
    for kernel, spills, registers in re.findall(pattern, messages, re.DOTALL):
        if "slide_lines" in kernel or int(spills) > 0:
            print(f"{name}: {registers} registers, {spills} bytes spilled: {kernel}", flush=True)


class _Problem(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in ("batch", "height", "width", "channels")),
        *((name, ctypes.c_int64) for name in ("boxes_per_channel", "stride_y", "stride_x")),
        *((name, ctypes.c_int32) for name in ("layout", "normalization", "dtype")),
    ]


@dataclasses.dataclass(frozen=True)
class Problem:
    """Sizes and options, named as in `tf_boxconv.box_conv2d`."""

    batch: int
    height: int
    width: int
    channels: int
    boxes_per_channel: int = 1
    strides: tuple[int, int] = (1, 1)
    normalization: str | None = "area"
    data_format: str = "channels_last"
    dtype: str = "float32"

    def as_c(self) -> _Problem:
        """Returns the problem as the C struct."""
        return _Problem(
            *(self.batch, self.height, self.width, self.channels, self.boxes_per_channel),
            *self.strides,
            LAYOUTS.index(self.data_format),
            NORMALIZATIONS.index(self.normalization),
            DTYPES.index(self.dtype),
        )

    def image_shape(self, height: int, width: int, channels: int) -> tuple[int, ...]:
        """Returns the shape of a batch of images of this size in the problem's data format."""
        if self.data_format == "channels_last":
            return (self.batch, height, width, channels)
        return (self.batch, channels, height, width)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The input's shape."""
        return self.image_shape(self.height, self.width, self.channels)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The output's shape."""
        height, width = -(-self.height // self.strides[0]), -(-self.width // self.strides[1])
        return self.image_shape(height, width, self.channels * self.boxes_per_channel)


class Library:
    """The functions of the library. They queue work on the device's stream."""

    def __init__(self, path: Path, device):
        self._c = ctypes.CDLL(str(path))
        self._device = device
        names = ("forward", "forward_workspace", "backward", "backward_workspace")
        for name in (*names, "integral_image"):
            getattr(self._c, f"boxconv_cuda_{name}").restype = ctypes.c_char_p

    def workspace(self, name: str, problem: Problem):
        """Allocates the workspace that function `name` needs for a problem."""
        size = ctypes.c_size_t()
        self._call(f"{name}_workspace", problem, ctypes.byref(size))
        return self._device.empty(max(size.value, 1))

    def forward(self, problem: Problem, workspace, *arrays) -> None:
        """Queues `input, boxes -> output`."""
        self._queue("forward", problem, (*arrays, workspace))

    def backward(self, problem: Problem, workspace, *arrays) -> None:
        """Queues `input, boxes, output_grad -> input_grad, boxes_grad`."""
        self._queue("backward", problem, (*arrays, workspace))

    def integral_image(self, problem: Problem, float32: bool, *arrays) -> None:
        """Queues `input -> table`."""
        self._queue("integral_image", problem, arrays, int(float32))

    def _queue(self, name, problem, arrays, *options) -> None:
        addresses = [ctypes.c_void_p(self._device.address(a)) for a in arrays]
        self._call(name, problem, *options, *addresses, ctypes.c_void_p(self._device.stream()))

    def _call(self, name: str, problem: Problem, *arguments) -> None:
        error = getattr(self._c, f"boxconv_cuda_{name}")(ctypes.byref(problem.as_c()), *arguments)
        if error is not None:
            raise GpuError(f"boxconv_cuda_{name}: {error.decode()}")
