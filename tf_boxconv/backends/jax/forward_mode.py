"""Adds advice to JAX's error about forward mode, which `jax.custom_vjp` does not support."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def forward_mode_advice(advice: str) -> Iterator[None]:
    """Adds `advice` to an error about forward mode that JAX raises inside the body.

    JAX raises it outside of the body, without advice, for functions that are compiled first and
    differentiated afterwards.
    """
    try:
        yield
    except TypeError as error:
        if "forward-mode autodiff" not in str(error):
            raise
        raise TypeError(
            "The compiled operators have no forward-mode derivative (jax.jvp, jacfwd, hessian) on "
            f"JAX. Use reverse mode (jax.grad, vjp, jacrev), or {advice}."
        ) from error
