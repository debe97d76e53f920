"""Registers the FFI handlers of the core library with JAX when it is imported."""

from __future__ import annotations

import ctypes

import jax

from tf_boxconv.backends.library import (
    CORE_LIBRARY,
    LibraryUnavailable,
    advice,
    load_core_library,
)

_PLATFORMS = ("cpu", "cuda")
# The handlers, and those that exist on the CPU only.
_TARGETS = ("forward", "backward", "integral_image")
_CPU_TARGETS = ("separable_forward", "separable_backward")


def _load_library() -> ctypes.CDLL:
    library = load_core_library()
    if not hasattr(library, "tf_boxconv_forward_cpu"):
        raise LibraryUnavailable(
            f"tf_boxconv's compiled library {CORE_LIBRARY} was built without JAX, which is "
            f"installed now. {advice(CORE_LIBRARY)}"
        )
    return library


def _register_handlers(library: ctypes.CDLL) -> list[str]:
    """Registers the handlers. Returns the platforms that the library has handlers for."""
    platforms = []
    for platform in _PLATFORMS:
        if not hasattr(library, f"tf_boxconv_forward_{platform}"):
            continue
        for target in _TARGETS + (_CPU_TARGETS if platform == "cpu" else ()):
            handler = jax.ffi.pycapsule(getattr(library, f"tf_boxconv_{target}_{platform}"))
            # JAX registers targets for "CUDA", but calls the platform "cuda" elsewhere.
            name = "CUDA" if platform == "cuda" else platform
            jax.ffi.register_ffi_target(f"tf_boxconv_{target}", handler, platform=name)
        platforms.append(platform)
    return platforms


# The platforms with handlers, as JAX calls them.
NATIVE_PLATFORMS = _register_handlers(_load_library())
