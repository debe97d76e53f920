"""Times a training step of a model with box layers, with and without XLA."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from benchmarks import timing
from tf_boxconv.layers import BoxBottleneck

PLAIN, XLA = "plain", "XLA"


def measure(
    batch: int, size: int, channels: int, blocks: int, rounds: int
) -> dict[str, list[float]]:
    """Returns the seconds of an Adam step on a stack of residual box blocks, in every round.

    Runs in a worker.
    """
    rng = np.random.default_rng(0)
    x = tf.constant(rng.standard_normal((batch, size, size, channels), np.float32))
    y = tf.tanh(x)
    calls = {}
    for name, jit_compile in ((PLAIN, False), (XLA, True)):
        keras.utils.set_random_seed(0)
        stack = [BoxBottleneck() for _ in range(blocks)]
        model = keras.Sequential([keras.Input((size, size, channels)), *stack])
        model.compile(keras.optimizers.Adam(1e-4), "mse", jit_compile=jit_compile)
        calls[name] = lambda model=model: model.train_on_batch(x, y)
    return timing.interleaved(calls, rounds, "training steps")
