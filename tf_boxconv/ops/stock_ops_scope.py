"""Tells box convolutions when they are traced for a runtime that lacks the compiled operators.

That is the case inside `stock_ops_scope`, which `tf_boxconv.export` opens, and while another
exporter, such as Keras's own for ONNX, traces the model.
"""

from __future__ import annotations

import contextlib
import contextvars
import sys
from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np
from keras import ops

_active = contextvars.ContextVar("tf_boxconv_stock_ops_scope", default=False)

# Modules that trace a model for another runtime, or the packages they are in. Keras's export to a
# SavedModel is not one of them: that may hold the compiled operators.
_EXPORTERS = (
    *("keras.src.export.litert", "keras.src.export.onnx", "keras.src.export.openvino"),
    *("tensorflow.lite.", "tf2onnx.", "openvino.", "coremltools.", "tensorflowjs."),
    *("jax._src.export.", "jax.experimental.jax2tf.", "jax2onnx."),
)


@contextlib.contextmanager
def stock_ops_scope() -> Iterator[None]:
    """Makes every box convolution traced inside portable, whatever its `implementation`.

    Boxes count as constants in it, so that what is computed from them and from a known size alone
    is computed while tracing and enters the graph as a constant. Only inference may be traced.
    """
    token = _active.set(True)
    try:
        yield
    finally:
        _active.reset(token)


def is_active() -> bool:
    """Whether the caller is traced for a runtime that lacks the compiled operators."""
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return _active.get() or (not tf.executing_eagerly() and _called_by_exporter())
    if backend == "jax":
        return _called_by_exporter()
    if backend == "torch":
        import torch

        # Flags only where `torch.compile` looks: it cannot follow a walk up the stack.
        if torch.compiler.is_compiling():
            return torch.compiler.is_exporting()
        return torch.onnx.is_in_onnx_export() or (torch.jit.is_tracing() and _called_by_exporter())
    return False


def _called_by_exporter() -> bool:
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(_EXPORTERS):
            return True
        frame = frame.f_back
    return False


def _boxes_are_constants() -> bool:
    # On other backends the weights of a model that is exported are arguments of a function.
    return keras.config.backend() == "tensorflow" and is_active()


def current_value(compute: Callable):
    """What `compute()` returns; in an export its present value, a constant."""
    if not _boxes_are_constants():
        return compute()
    import tensorflow as tf

    with tf.init_scope():
        return np.array(compute())


def folded(compute: Callable[..., Sequence], boxes) -> list:
    """What `compute(boxes)` returns; in an export, where boxes are known, constants."""
    if not _boxes_are_constants():
        return compute(boxes)
    import tensorflow as tf

    values = tf.get_static_value(boxes)
    if values is None:
        return compute(boxes)
    with tf.init_scope():
        return [ops.convert_to_numpy(value) for value in compute(ops.convert_to_tensor(values))]
