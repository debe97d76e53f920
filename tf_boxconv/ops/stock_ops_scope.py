"""A scope in which models are traced for export: stock ops only, boxes as constants.

Exports are TensorFlow's affair: within the scope Keras's backend is TensorFlow.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np
from keras import ops

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
    # Other backends' compilers need not look into context variables.
    return keras.config.backend() == "tensorflow" and _active.get()


def current_value(compute: Callable):
    """What `compute()` returns; inside the scope its present value, a constant."""
    if not is_active():
        return compute()
    import tensorflow as tf

    with tf.init_scope():
        return np.array(compute())


def folded(compute: Callable[..., Sequence], boxes) -> list:
    """What `compute(boxes)` returns; inside the scope, where boxes are known, constants."""
    if not is_active():
        return compute(boxes)
    import tensorflow as tf

    values = tf.get_static_value(boxes)
    if values is None:
        return compute(boxes)
    with tf.init_scope():
        return [ops.convert_to_numpy(value) for value in compute(ops.convert_to_tensor(values))]
