"""Finds, checks and loads the compiled op library, once a process."""

from __future__ import annotations

import json
import os
from pathlib import Path

import tensorflow as tf

# Names another library to load in place of the package's own, such as one that Bazel built.
LIBRARY_VARIABLE = "TF_BOXCONV_LIBRARY"

_OWN_LIBRARY = Path(__file__).resolve().parents[1] / "lib" / "libtf_boxconv_ops.so"
# How XLA compiles the ops, for whichever op library is loaded.
_XLA_LIBRARY = _OWN_LIBRARY.with_name("libtf_boxconv_xla.so")
_UNSET_VARIABLE = f"Unset {LIBRARY_VARIABLE} to load tf_boxconv's own library."
_LIBRARY = Path(os.path.abspath(os.environ.get(LIBRARY_VARIABLE) or _OWN_LIBRARY))


def library_path() -> str:
    """Returns the path of the op library: the package's own, or what `TF_BOXCONV_LIBRARY` says.

    A program without this package loads it by itself, with `tf.load_op_library(path)` in Python or
    `TF_LoadLibrary` in C, before it loads a SavedModel that has box layers in it.
    """
    return str(_LIBRARY)


def build_info() -> dict[str, str | None]:
    """Returns what the libraries were built for and with.

    `"tensorflow"`, `"jax"` and `"torch"` are the versions of the frameworks, None where there was
    none. `"xla_ffi"` is the version of the interface by which XLA, that of TensorFlow and of JAX,
    calls the kernels, None if it cannot. `"cuda"` is the version of the CUDA compiler, or None if
    there are no GPU kernels: TensorFlow then places these ops on the CPU.
    """
    try:
        info = json.loads(_LIBRARY.with_name("build_info.json").read_text())
    except (OSError, ValueError):
        info = {}
    return {name: info.get(name) for name in ("tensorflow", "jax", "torch", "xla_ffi", "cuda")}


def load_library():
    """Loads the op library and returns the module with its generated Python wrappers.

    Raises:
        ImportError: if the library is not built or was built for another TensorFlow.
    """
    if not _LIBRARY.exists():
        if _LIBRARY != _OWN_LIBRARY:
            raise ImportError(
                f"{LIBRARY_VARIABLE} names {_LIBRARY}, which does not exist. {_UNSET_VARIABLE}"
            )
        raise ImportError(
            f"tf_boxconv's compiled library is missing: {_LIBRARY} does not exist. "
            "In a checkout run `pip install -e .`; else run `pip install --force-reinstall "
            "--no-deps tf_boxconv` with TensorFlow installed."
        )
    try:
        ops = tf.load_op_library(str(_LIBRARY))
    except tf.errors.OpError as error:
        raise ImportError(_explain(error)) from error
    if not hasattr(ops, "box_conv_box_conv2d"):
        # TensorFlow gives an empty module when another file has registered these ops before.
        raise ImportError(
            "the ops of tf_boxconv were already registered from another copy of its library than "
            f"{_LIBRARY}. Load only one copy in a process: `import tf_boxconv` loads its own."
        )
    return ops


def load_xla_library() -> bool:
    """Makes XLA know the ops, if the package has a library for that; call it before any XLA runs.

    Returns:
        Whether there is one. Without it `jit_compile=True` fails on the compiled ops.

    Raises:
        ImportError: if it was built for another TensorFlow.
    """
    if not _XLA_LIBRARY.exists():
        return False
    try:
        tf.load_library(str(_XLA_LIBRARY))
    except tf.errors.OpError as error:
        raise ImportError(_explain(error, _XLA_LIBRARY)) from error
    return True


def _explain(error: Exception, library: Path = _LIBRARY) -> str:
    built_for = build_info()["tensorflow"] or "an unknown version"
    message = f"tf_boxconv's compiled library {library} cannot be loaded: {error}\n"
    if built_for != tf.__version__:
        message += f"It was built for TensorFlow {built_for}; this is TensorFlow {tf.__version__}. "
    if library not in (_OWN_LIBRARY, _XLA_LIBRARY):
        return message + _UNSET_VARIABLE
    return message + (
        "Build it for the TensorFlow installed here: run `pip install -e .` in a checkout, else "
        "`pip install --force-reinstall --no-deps --no-cache-dir tf_boxconv`."
    )


compiled_ops = load_library()
has_xla = load_xla_library()
