"""The compiled operators, for each of Keras's backends.

A backend's module of the same name has `box_conv2d` and `integral_image` on that framework's
tensors, with arguments that are checked already, and `SUPPORTS_JIT`. It is imported with the
package, so that TensorFlow knows the operators before a SavedModel is loaded; no other framework
is.
"""

from __future__ import annotations

import importlib
import types
import warnings

import keras

from tf_boxconv.backends.library import LibraryUnavailable

_BACKENDS = ("tensorflow", "jax", "torch")


def _load() -> types.ModuleType | None:
    """The module of Keras's backend; None, with a warning, where nothing compiled serves it."""
    name = keras.config.backend()
    if name not in _BACKENDS:
        return None
    try:
        return importlib.import_module(f"tf_boxconv.backends.{name}")
    except LibraryUnavailable as error:
        if name == "tensorflow":
            # SavedModels and graphs with the operators in them could not be read.
            raise
        warnings.warn(
            f'{error}\ntf_boxconv runs implementation="portable" instead, which is slower.',
            stacklevel=2,
        )
        return None


native = _load()


def native_supports_jit() -> bool:
    """Whether `implementation="native"` may be compiled with the rest of a model."""
    return native is None or native.SUPPORTS_JIT
