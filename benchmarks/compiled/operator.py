"""Times the operator as TensorFlow op, under TensorFlow's XLA, and under JAX."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks import timing
from benchmarks.cases import FORWARD, PASSES, Case, centred_boxes

TF, TF_JIT = "TensorFlow op", "TensorFlow, XLA"
JAX, JAX_PORTABLE = "JAX", "JAX, portable"
# The portable path consists of Keras ops, so JAX must be Keras's backend.
ENVIRONMENT = {"KERAS_BACKEND": "jax"}
Key = tuple[str, str]  # pass, implementation


def measure(case: Case, size: int, rounds: int) -> dict[Key, list[float]]:
    """Returns the seconds of each call in every round. Runs in a worker with `ENVIRONMENT`."""
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.standard_normal(case.shape, np.float32)
    output_grad = rng.standard_normal((*case.shape[:3], case.channels), np.float32)
    boxes = centred_boxes(case, size)
    calls = {
        (pass_name, name): call
        for pass_name in PASSES
        for make in (_tensorflow_calls, _jax_calls)
        for name, call in make(pass_name, x, boxes, output_grad).items()
    }
    return timing.interleaved(calls, rounds, f"{case}, box {size}")


def _tensorflow_calls(pass_name: str, x, boxes, output_grad) -> dict[str, Callable]:
    import tensorflow as tf

    import tf_boxconv

    # Load the ops directly, because `tf_boxconv.box_conv2d` uses JAX here.
    path = tf_boxconv.library_path()
    ops = tf.load_op_library(path)
    tf.load_library(path.replace("_ops.so", "_xla.so"))

    def forward(x, boxes, output_grad):
        return ops.box_conv_box_conv2d(input=x, boxes=boxes)

    def both(x, boxes, output_grad):
        gradients = ops.box_conv_box_conv2d_grad(input=x, boxes=boxes, output_grad=output_grad)
        return forward(x, boxes, output_grad), *gradients

    arguments = [tf.constant(array) for array in (x, boxes, output_grad)]
    calls = {}
    for name, jit_compile in ((TF, False), (TF_JIT, True)):
        function = tf.function(forward if pass_name == FORWARD else both, jit_compile=jit_compile)
        concrete = function.get_concrete_function(*arguments)
        calls[name] = lambda concrete=concrete: concrete(*arguments)
    return calls


def _jax_calls(pass_name: str, x, boxes, output_grad) -> dict[str, Callable]:
    import jax

    from tf_boxconv.backends.jax import box_conv2d
    from tf_boxconv.ops.box_conv_portable import box_conv2d_portable

    options = (1, 1), "area", "channels_last"
    arguments = [jax.device_put(array) for array in (x, boxes, output_grad)]
    calls = {}
    for name, operator in ((JAX, box_conv2d), (JAX_PORTABLE, box_conv2d_portable)):

        def forward(x, boxes, output_grad, operator=operator):
            return operator(x, boxes, *options)

        def both(x, boxes, output_grad, operator=operator):
            out, gradients = jax.vjp(lambda x, boxes: operator(x, boxes, *options), x, boxes)
            return out, gradients(output_grad)

        function = jax.jit(forward if pass_name == FORWARD else both)
        calls[name] = lambda function=function: jax.block_until_ready(function(*arguments))
    return calls
