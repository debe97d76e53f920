"""Keras's backend of this test run, and what tests need of each: gradients, above all."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import keras
import numpy as np
import pytest

import tf_boxconv

BACKEND = keras.config.backend()
tensorflow_only = pytest.mark.skipif(
    BACKEND != "tensorflow", reason=f"of TensorFlow alone; Keras's backend is {BACKEND}"
)


box_conv2d_portable = functools.partial(tf_boxconv.box_conv2d, implementation="portable")


def tensor(x, dtype: str | None = None):
    """A tensor of the backend."""
    return keras.ops.convert_to_tensor(x, dtype=dtype)


def to_float64(x) -> np.ndarray:
    """Any tensor as a float64 array."""
    if hasattr(x, "detach"):
        x = x.detach()
    return keras.ops.convert_to_numpy(keras.ops.cast(x, "float64"))


def dtype_name(x) -> str:
    return keras.backend.standardize_dtype(x.dtype)


def value_and_gradients(function: Callable, arguments: Sequence, output_grad=None):
    """`function(*arguments)` and the gradients of `<output, output_grad>` to each argument.

    Without `output_grad` the output is a scalar, or counts as the sum of its elements. Functions of
    gradients may be given in turn. The output may depend on none of an argument: that is zeros.
    """
    return _BY_BACKEND[BACKEND](function, arguments, output_grad)


def layer_gradients(loss, layer, x, **call_arguments):
    """Gradients of `loss(layer(x))` to `x` and each of the layer's trainable weights."""
    fixed = [variable.value for variable in layer.non_trainable_variables]

    def function(x, *weights):
        out, _ = layer.stateless_call(list(weights), fixed, x, **call_arguments)
        return loss(out)

    weights = [tensor(variable.value) for variable in layer.trainable_variables]
    return value_and_gradients(function, [tensor(x), *weights])[1]


def _tensorflow(function, arguments, output_grad):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(arguments)
        out = function(*arguments)
    return out, tape.gradient(out, arguments, output_grad, unconnected_gradients="zero")


def _jax(function, arguments, output_grad):
    return _compiled_by_jax(function)(arguments, output_grad)


@functools.lru_cache(maxsize=4)
def _compiled_by_jax(function):
    """Compiled, as anyone runs JAX: step by step each operation would be compiled on its own."""
    import jax

    @jax.jit
    def compiled(arguments, output_grad):
        out, pull = jax.vjp(function, *arguments)
        return out, list(pull(jax.numpy.ones_like(out) if output_grad is None else output_grad))

    return compiled


def _torch(function, arguments, output_grad):
    import torch

    arguments = [a if a.requires_grad else a.detach().requires_grad_() for a in arguments]
    out = function(*arguments)
    grad = torch.ones_like(out) if output_grad is None else output_grad
    return out, list(
        torch.autograd.grad(out, arguments, grad, create_graph=True, materialize_grads=True)
    )


_BY_BACKEND = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
