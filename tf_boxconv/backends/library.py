"""Paths of the compiled libraries, checks before loading them, and information on their build.

    tf_boxconv/lib/
      libtf_boxconv_core.so      the kernels without TensorFlow, for XLA, JAX and PyTorch
      tensorflow_2.21/           for this minor version of TensorFlow:
        libtf_boxconv_ops.so       its custom ops
        libtf_boxconv_xla.so       XLA's lowering of these ops

A wheel has a folder for each version of TensorFlow that it supports, a build from source only one.
Each folder has a `build_info.json`.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.metadata
import json
import os
import re
import sys
from pathlib import Path

from tf_boxconv.backends.elf import elf_size
from tf_boxconv.backends.remedy import build_again, build_command

# Environment variable with the path of another op library to load, such as one built by Bazel.
LIBRARY_VARIABLE = "TF_BOXCONV_LIBRARY"

FOLDER = Path(__file__).resolve().parents[1] / "lib"
CORE_LIBRARY = FOLDER / "libtf_boxconv_core.so"


class LibraryUnavailable(ImportError):
    """A compiled library is missing or cannot be loaded. The message says how to fix this."""


def tensorflow_version() -> str | None:
    """Returns the version of the installed TensorFlow without importing it; None if there is none.

    Distributions of TensorFlow have several names, such as `tensorflow-cpu`.
    """
    if "tensorflow" in sys.modules:
        # None stands for a module that Python must not import.
        return getattr(sys.modules["tensorflow"], "__version__", None)
    for name in importlib.metadata.packages_distributions().get("tensorflow", []):
        return importlib.metadata.version(name)
    return None


@functools.cache
def own_op_library() -> Path:
    """Returns the path of this package's op library for the installed TensorFlow."""
    minor = re.match(r"\d+\.\d+|", tensorflow_version() or "")[0]
    return FOLDER / f"tensorflow_{minor}" / "libtf_boxconv_ops.so"


@functools.cache
def op_library() -> Path:
    """Returns the path of the op library to load, which may not exist."""
    other = os.environ.get(LIBRARY_VARIABLE)
    return Path(os.path.abspath(other)) if other else own_op_library()


def xla_library() -> Path:
    """Returns the path of XLA's lowering, which serves any op library for this TensorFlow."""
    return own_op_library().with_name("libtf_boxconv_xla.so")


def built_versions() -> list[str]:
    """Returns the minor versions of TensorFlow that this package has op libraries for."""
    folders = FOLDER.glob("tensorflow_*/libtf_boxconv_ops.so")
    versions = [path.parent.name.removeprefix("tensorflow_") for path in folders]
    return sorted(versions, key=lambda version: [int(n) for n in re.findall(r"\d+", version)])


def library_path() -> str:
    """Returns the path of the op library, with the custom ops for the installed TensorFlow.

    If the environment variable `TF_BOXCONV_LIBRARY` is set, it names the library to use instead of
    the package's own. A program without this package must load the library before it loads a
    SavedModel with the custom ops, with `tf.load_op_library(path)` in Python or `TF_LoadLibrary`
    in C.
    """
    return str(op_library())


def build_info() -> dict[str, str | None]:
    """Returns the versions that the compiled libraries were built with.

    Returns:
        A dict with the keys `"tensorflow"`, `"jax"` and `"torch"` (the frameworks that were
        installed), `"xla_ffi"` (the interface through which XLA in TensorFlow and JAX calls the
        kernels) and `"cuda"` (the CUDA compiler). A value is None if the libraries were built
        without it. Without CUDA there are no GPU kernels, and TensorFlow places the custom ops on
        the CPU. All values are None if the file with this information is missing or damaged.
    """
    folder = op_library().parent if op_library().exists() else FOLDER
    try:
        info = json.loads((folder / "build_info.json").read_text())
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
    if library == own_op_library() and not library.exists() and built_versions():
        raise LibraryUnavailable(
            f"tf_boxconv has libraries for TensorFlow {', '.join(built_versions())}, but this is "
            f"TensorFlow {tensorflow_version()}. Install one of these versions of TensorFlow, or "
            f"build tf_boxconv for this version: {build_command()}."
        )
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
    if FOLDER in library.parents:
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
