"""Compilation by XLA in TensorFlow, shared by its tests."""

import tensorflow as tf


def compiled(function):
    return tf.function(function, jit_compile=True, reduce_retracing=False)


def hlo_of(function, *arguments) -> str:
    """The program that XLA starts from."""
    return compiled(function).experimental_get_compiler_ir(*arguments)(stage="hlo")
