"""Finds, checks and loads the compiled op library, once a process."""

from __future__ import annotations

import json
import os
from pathlib import Path

import tensorflow as tf

# Names another library to load in place of the package's own, such as one that Bazel built.
LIBRARY_VARIABLE = "TF_BOXCONV_LIBRARY"

_OWN_LIBRARY = Path(__file__).resolve().parents[1] / "lib" / "libtf_boxconv_ops.so"
_UNSET_VARIABLE = f"Unset {LIBRARY_VARIABLE} to load tf_boxconv's own library."
_LIBRARY = Path(os.path.abspath(os.environ.get(LIBRARY_VARIABLE) or _OWN_LIBRARY))


def library_path() -> str:
    """Returns the path of the op library: the package's own, or what `TF_BOXCONV_LIBRARY` says.

    A program without this package loads it by itself, with `tf.load_op_library(path)` in Python or
    `TF_LoadLibrary` in C, before it loads a SavedModel that has box layers in it.
    """
    return str(_LIBRARY)


def build_info() -> dict[str, str | None]:
    """Returns what the op library was built for and with.

    `"tensorflow"` is the version of TensorFlow. `"cuda"` is that of the CUDA compiler, or None if
    the library has no GPU kernels: TensorFlow then places these ops on the CPU.
    """
    try:
        info = json.loads(_LIBRARY.with_name("build_info.json").read_text())
        return {"tensorflow": info["tensorflow"], "cuda": info.get("cuda")}
    except (OSError, ValueError, KeyError):
        return {"tensorflow": None, "cuda": None}


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


def _explain(error: Exception) -> str:
    built_for = build_info()["tensorflow"] or "an unknown version"
    message = f"tf_boxconv's compiled library {_LIBRARY} cannot be loaded: {error}\n"
    if built_for != tf.__version__:
        message += f"It was built for TensorFlow {built_for}; this is TensorFlow {tf.__version__}. "
    if _LIBRARY != _OWN_LIBRARY:
        return message + _UNSET_VARIABLE
    return message + (
        "Build it for the TensorFlow installed here: run `pip install -e .` in a checkout, else "
        "`pip install --force-reinstall --no-deps --no-cache-dir tf_boxconv`."
    )


compiled_ops = load_library()
