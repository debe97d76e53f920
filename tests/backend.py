"""Tensors and gradients on any backend of Keras, so that one test runs on all of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import keras
import numpy as np
import pytest

import tf_boxconv

BACKEND = keras.config.backend()
tensorflow_only = pytest.mark.skipif(
    BACKEND != "tensorflow", reason=f"needs TensorFlow; Keras's backend is {BACKEND}"
)


box_conv2d_portable = functools.partial(tf_boxconv.box_conv2d, implementation="portable")


def tensor(x, dtype: str | None = None):
    return keras.ops.convert_to_tensor(x, dtype=dtype)


def to_float64(x) -> np.ndarray:
    """Converts a tensor, a variable or an array to a float64 array."""
    if hasattr(x, "detach"):
        x = x.detach()
    return keras.ops.convert_to_numpy(keras.ops.cast(x, "float64"))


def dtype_name(x) -> str:
    return keras.backend.standardize_dtype(x.dtype)


def value_and_gradients(function: Callable, arguments: Sequence, output_grad=None):
    """Returns `function(*arguments)` and its gradients to each argument.

    They are the gradients of `sum(output * output_grad)`; `output_grad` defaults to ones. Calls may
    be nested, for gradients of gradients. The gradient to an argument that the output does not
    depend on is zero.
    """
    return _BY_BACKEND[BACKEND](function, arguments, output_grad)


def central_differences(function: Callable, arguments: Sequence[np.ndarray], delta: float = 1e-5):
    """Returns approximate gradients of a scalar function to each array.

    In float64, the truncation error is of order `delta**2`, the rounding error `1e-16 / delta`.
    """
    gradients = []
    for i, argument in enumerate(arguments):
        gradient = np.zeros_like(argument)
        for index in np.ndindex(argument.shape):
            values = []
            for step in (-delta, delta):
                moved = argument.copy()
                moved[index] += step
                all_arguments = [*arguments[:i], moved, *arguments[i + 1 :]]
                values.append(float(to_float64(function(*map(tensor, all_arguments)))))
            gradient[index] = (values[1] - values[0]) / (2 * delta)
        gradients.append(gradient)
    return gradients


def layer_gradients(loss, layer, x, **call_arguments):
    """Returns the gradients of `loss(layer(x))` to `x` and to each trainable weight."""
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
    """Compiles the whole function. Eager JAX would compile every operation on its own."""
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
