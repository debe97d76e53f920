"""A scope in which models are traced for export: stock ops only, boxes as constants."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

_active = contextvars.ContextVar("tf_boxconv_stock_ops_scope", default=False)


@contextlib.contextmanager
def stock_ops_scope() -> Iterator[None]:
    """Makes every box convolution traced inside use stock ops, whatever its `implementation`.

    Boxes count as constants in it, so that what is computed from them and from a known size alone
    is computed while tracing and enters the graph as a constant. Only inference may be traced.
    """
    token = _active.set(True)
    try:
        yield
    finally:
        _active.reset(token)


def is_active() -> bool:
    """Whether the caller runs inside `stock_ops_scope`."""
    return _active.get()


def current_value(compute: Callable[[], tf.Tensor]) -> tf.Tensor | np.ndarray:
    """What `compute` returns; inside the scope its present value, a constant."""
    if not is_active():
        return compute()
    with tf.init_scope():
        return np.array(compute())
