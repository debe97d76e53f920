"""Loads the op library and its XLA lowering into TensorFlow when it is imported."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from tf_boxconv.backends.library import (
    CORE_LIBRARY,
    LIBRARY_VARIABLE,
    LibraryUnavailable,
    advice,
    build_info,
    check_library,
    op_library,
    own_op_library,
    xla_library,
)


def load_library():
    """Loads the op library and returns the module with its generated Python wrappers.

    Raises:
        LibraryUnavailable: If the library was not built, or was built for another TensorFlow.
    """
    library = op_library()
    if library != own_op_library() and not library.exists():
        raise LibraryUnavailable(
            f"{LIBRARY_VARIABLE} names {library}, which does not exist. {advice(library)}"
        )
    check_library(library)
    try:
        ops = tf.load_op_library(str(library))
    except tf.errors.OpError as error:
        raise LibraryUnavailable(_explain(error, library)) from error
    if not hasattr(ops, "box_conv_box_conv2d"):
        # TensorFlow returns an empty module if another library has registered these ops already.
        raise LibraryUnavailable(
            "the ops of tf_boxconv are already registered by another copy of its library than "
            f"{library}. Load only one copy per process; `import tf_boxconv` loads its own."
        )
    return ops


def load_xla_library() -> bool:
    """Registers the lowering of the custom ops with XLA. Must be called before XLA compiles.

    Returns:
        Whether the package has a library for this TensorFlow's XLA. Without it
        `jit_compile=True` fails on the custom ops.

    Raises:
        LibraryUnavailable: If the library was built for another TensorFlow.
    """
    library = xla_library()
    if not library.exists():
        return False
    for path in (CORE_LIBRARY, library):  # The second links to the first.
        check_library(path)
    try:
        tf.load_library(str(library))
    except tf.errors.OpError as error:
        raise LibraryUnavailable(_explain(error, library)) from error
    return True


def _explain(error: Exception, library: Path) -> str:
    built_for = build_info()["tensorflow"] or "an unknown version"
    message = f"tf_boxconv's compiled library {library} cannot be loaded: {error}\n"
    if built_for != tf.__version__:
        message += f"It was built for TensorFlow {built_for}; this is TensorFlow {tf.__version__}. "
    return message + advice(library)


compiled_ops = load_library()
has_xla = load_xla_library()
