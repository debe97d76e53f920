"""The error of forward-mode differentiation, which the compiled operators lack on JAX."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def explain_forward_mode(name: str, remedy: str) -> Iterator[None]:
    """Replaces JAX's error about `jax.custom_vjp` by one that names the operator and a remedy.

    JAX's own error remains for a function that `jax.jit` has traced before it is differentiated.
    """
    try:
        yield
    except TypeError as error:
        if "forward-mode" not in str(error):
            raise
        raise TypeError(
            f"the compiled `{name}` has no forward-mode derivative on JAX (jvp, jacfwd, hessian, "
            f"linearize). {remedy}"
        ) from error
