"""Compiles functions with XLA in TensorFlow."""

import tensorflow as tf


def compiled(function):
    return tf.function(function, jit_compile=True, reduce_retracing=False)


def hlo_of(function, *arguments) -> str:
    """Returns the program that TensorFlow passes to XLA, as text."""
    return compiled(function).experimental_get_compiler_ir(*arguments)(stage="hlo")
