"""What to do about forward mode, which JAX refuses for `jax.custom_vjp` functions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def forward_mode_advice(advice: str) -> Iterator[None]:
    """Adds `advice` to JAX's error about forward mode.

    JAX raises it inside the body, but for functions that were compiled before they are
    differentiated: those fail with JAX's own message.
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
