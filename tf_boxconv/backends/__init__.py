"""The compiled operators, with one module for each backend of Keras.

Each module provides `SUPPORTS_JIT`, and `box_conv2d`, `separable_box_conv2d` and `integral_image`
for the tensors of its framework. The functions get arguments that are checked already.
`import tf_boxconv` imports the module of the current backend only. On TensorFlow this registers the
custom ops, which SavedModels need.
"""

from __future__ import annotations

import importlib
import types
import warnings

import keras

from tf_boxconv.backends.library import LibraryUnavailable

_BACKENDS = ("tensorflow", "jax", "torch")


def _load() -> types.ModuleType | None:
    """Imports the module of Keras's backend.

    Returns:
        The module. None if the backend has none, and None with a warning if the compiled library
        of JAX or PyTorch cannot be loaded.

    Raises:
        LibraryUnavailable: If the op library of TensorFlow cannot be loaded.
    """
    name = keras.config.backend()
    if name not in _BACKENDS:
        return None
    try:
        return importlib.import_module(f"tf_boxconv.backends.{name}")
    except LibraryUnavailable as error:
        if name == "tensorflow":
            # Without the custom ops, SavedModels and graphs that contain them cannot be loaded.
            raise
        warnings.warn(
            f'{error}\ntf_boxconv uses implementation="portable" instead, which is slower.',
            stacklevel=2,
        )
        return None


# The module of the current backend; None if there are no compiled operators.
native = _load()


def native_supports_jit() -> bool:
    """Returns whether `jit_compile=True` works with `implementation="native"`."""
    return native is None or native.SUPPORTS_JIT
