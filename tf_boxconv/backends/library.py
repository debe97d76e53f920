"""Where the compiled libraries are, and what was built. Loading them is each backend's own."""

from __future__ import annotations

import ctypes
import json
import os
from pathlib import Path

from tf_boxconv.backends.elf import elf_size
from tf_boxconv.backends.remedy import build_again

# Names another op library to load in place of the package's own, such as one that Bazel built.
LIBRARY_VARIABLE = "TF_BOXCONV_LIBRARY"

FOLDER = Path(__file__).resolve().parents[1] / "lib"
OWN_OP_LIBRARY = FOLDER / "libtf_boxconv_ops.so"
OP_LIBRARY = Path(os.path.abspath(os.environ.get(LIBRARY_VARIABLE) or OWN_OP_LIBRARY))
# How TensorFlow's XLA compiles the ops, for whichever op library is loaded.
XLA_LIBRARY = FOLDER / "libtf_boxconv_xla.so"
# Core alone, for frameworks other than TensorFlow, and for XLA.
CORE_LIBRARY = FOLDER / "libtf_boxconv_core.so"


class LibraryUnavailable(ImportError):
    """A compiled library is missing or cannot be loaded; the message says what to run."""


def library_path() -> str:
    """Returns the path of the op library: the package's own, or what `TF_BOXCONV_LIBRARY` says.

    A program without this package loads it by itself, with `tf.load_op_library(path)` in Python or
    `TF_LoadLibrary` in C, before it loads a SavedModel that has box layers in it.
    """
    return str(OP_LIBRARY)


def build_info() -> dict[str, str | None]:
    """Returns what the compiled libraries were built for and with.

    `"tensorflow"`, `"jax"` and `"torch"` are the versions of the frameworks, None where there was
    none. `"xla_ffi"` is the version of the interface by which XLA, that of TensorFlow and of JAX,
    calls the kernels, None if it cannot. `"cuda"` is the version of the CUDA compiler, or None if
    there are no GPU kernels: TensorFlow then places these ops on the CPU. Everything is None if
    the file with this information is missing or damaged.
    """
    try:
        info = json.loads(OP_LIBRARY.with_name("build_info.json").read_text())
    except (OSError, ValueError):
        info = None
    versions = info if isinstance(info, dict) else {}
    names = ("tensorflow", "jax", "torch", "xla_ffi", "cuda")
    return {n: versions[n] if isinstance(versions.get(n), str) else None for n in names}


def check_library(library: Path) -> None:
    """Checks that a library can be loaded without harm, before a loader maps it.

    Raises:
        LibraryUnavailable: if it is missing, unreadable or cut short. A loader that maps a
            truncated file succeeds, and the process dies of a bus error later.
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
            f"tf_boxconv's compiled library {library} is cut short: it has {size} of {expected} "
            f"bytes. {advice(library)}"
        )


def advice(library: Path) -> str:
    """A sentence that says what to do about a library that cannot be used."""
    if library.parent == FOLDER:
        return build_again()
    return f"Unset {LIBRARY_VARIABLE} to load tf_boxconv's own library."


def load_core_library() -> ctypes.CDLL:
    """Loads core, of which JAX and PyTorch take what they need.

    Raises:
        LibraryUnavailable: if it is not built or cannot be loaded.
    """
    check_library(CORE_LIBRARY)
    try:
        return ctypes.CDLL(str(CORE_LIBRARY))
    except OSError as error:
        raise LibraryUnavailable(
            f"tf_boxconv's compiled library cannot be loaded: {error}. {advice(CORE_LIBRARY)}"
        ) from error
