"""Paths of the compiled libraries, checks before loading them, and information on their build."""

from __future__ import annotations

import ctypes
import json
import os
from pathlib import Path

from tf_boxconv.backends.elf import elf_size
from tf_boxconv.backends.remedy import build_again

# Environment variable with the path of another op library to load, such as one built by Bazel.
LIBRARY_VARIABLE = "TF_BOXCONV_LIBRARY"

FOLDER = Path(__file__).resolve().parents[1] / "lib"
OWN_OP_LIBRARY = FOLDER / "libtf_boxconv_ops.so"
OP_LIBRARY = Path(os.path.abspath(os.environ.get(LIBRARY_VARIABLE) or OWN_OP_LIBRARY))
# XLA's lowering of the custom ops, for any op library.
XLA_LIBRARY = FOLDER / "libtf_boxconv_xla.so"
# The kernels without TensorFlow, for XLA, JAX and PyTorch.
CORE_LIBRARY = FOLDER / "libtf_boxconv_core.so"


class LibraryUnavailable(ImportError):
    """A compiled library is missing or cannot be loaded. The message says how to fix this."""


def library_path() -> str:
    """Returns the path of the op library, with the custom ops for TensorFlow.

    If the environment variable `TF_BOXCONV_LIBRARY` is set, it names the library to use instead of
    the package's own. A program without this package must load the library before it loads a
    SavedModel with the custom ops, with `tf.load_op_library(path)` in Python or `TF_LoadLibrary`
    in C.
    """
    return str(OP_LIBRARY)


def build_info() -> dict[str, str | None]:
    """Returns the versions that the compiled libraries were built with.

    Returns:
        A dict with the keys `"tensorflow"`, `"jax"` and `"torch"` (the installed frameworks),
        `"xla_ffi"` (the interface through which XLA in TensorFlow and JAX calls the kernels) and
        `"cuda"` (the CUDA compiler). A value is None if the libraries were built without it.
        Without CUDA there are no GPU kernels, and TensorFlow places the custom ops on the CPU.
        All values are None if the file with this information is missing or damaged.
    """
    try:
        info = json.loads(OP_LIBRARY.with_name("build_info.json").read_text())
    except (OSError, ValueError):
        info = None
    versions = info if isinstance(info, dict) else {}
    names = ("tensorflow", "jax", "torch", "xla_ffi", "cuda")
    return {n: versions[n] if isinstance(versions.get(n), str) else None for n in names}


def check_library(library: Path) -> None:
    """Checks that a library exists and is complete.

    The dynamic loader does not detect truncated files: it maps them successfully, and the process
    later crashes with a bus error.

    Raises:
        LibraryUnavailable: If the library is missing, unreadable or truncated.
    """
    if not library.exists():
        raise LibraryUnavailable(
            f"tf_boxconv's compiled library is missing: {library} does not exist. {advice(library)}"
        )
    try:
        size, expected = library.stat().st_size, elf_size(library)
    except OSError as error:
        raise LibraryUnavailable(
            f"tf_boxconv's compiled library {library} cannot be read: {error.strerror}. "
            f"{advice(library)}"
        ) from None
    if expected is None:
        raise LibraryUnavailable(f"{library} is not a shared library. {advice(library)}")
    if size < expected:
        raise LibraryUnavailable(
            f"tf_boxconv's compiled library {library} is truncated: it has {size} of {expected} "
            f"bytes. {advice(library)}"
        )


def advice(library: Path) -> str:
    """Returns a sentence that says how to get a usable library."""
    if library.parent == FOLDER:
        return build_again()
    return f"Unset {LIBRARY_VARIABLE} to load tf_boxconv's own library."


def load_core_library() -> ctypes.CDLL:
    """Loads the core library, for JAX and PyTorch.

    Raises:
        LibraryUnavailable: If it was not built or cannot be loaded.
    """
    check_library(CORE_LIBRARY)
    try:
        return ctypes.CDLL(str(CORE_LIBRARY))
    except OSError as error:
        raise LibraryUnavailable(
            f"tf_boxconv's compiled library cannot be loaded: {error}. {advice(CORE_LIBRARY)}"
        ) from error
