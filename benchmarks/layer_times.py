"""Times whole Keras layers: `BoxConv2D` beside `SeparableConv2D` and `Conv2D`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from benchmarks import timing
from benchmarks.cases import FORWARD, FORWARD_BACKWARD, PASSES
from tf_boxconv.layers import BoxConv2D

BASE = "Conv2D 3x3"
# Each layer keeps the number of channels, so all of them can stand in the same place of a network.
LAYERS: dict[str, Callable[[int], keras.layers.Layer]] = {
    BASE: lambda channels: keras.layers.Conv2D(channels, 3, padding="same"),
    "Conv2D 7x7": lambda channels: keras.layers.Conv2D(channels, 7, padding="same"),
    "SeparableConv2D 3x3": lambda channels: keras.layers.SeparableConv2D(
        channels, 3, padding="same"
    ),
    "SeparableConv2D 31x31": lambda channels: keras.layers.SeparableConv2D(
        channels, 31, padding="same"
    ),
    "BoxConv2D, 1 box per channel": lambda channels: BoxConv2D(channels, depth_multiplier=1),
    "BoxConv2D, 4 boxes per channel": lambda channels: BoxConv2D(channels, depth_multiplier=4),
}
Shape = tuple[int, int, int, int]
Key = tuple[Shape, str, str]  # shape of the input, pass, layer
# The gradient of a 31x31 depthwise kernel takes seconds in TensorFlow.
SKIPPED = {(FORWARD_BACKWARD, "SeparableConv2D 31x31")}


def measure(
    shapes: Sequence[Shape], rounds: int
) -> tuple[dict[Key, list[float]], dict[tuple[Shape, str], int]]:
    """Times all layers in interleaved rounds. Runs in a worker.

    Args:
        shapes: Shapes of the inputs, `[N, H, W, C]`.
        rounds: Number of rounds.

    Returns:
        Seconds of each call in every round, and the trainable parameters of each layer.
    """
    calls, parameters = {}, {}
    for shape in shapes:
        x = tf.constant(np.random.default_rng(0).standard_normal(shape, np.float32))
        for name, make in LAYERS.items():
            layer = make(shape[-1])
            layer.build(shape)
            parameters[shape, name] = sum(int(np.prod(w.shape)) for w in layer.trainable_weights)
            for pass_name in PASSES:
                if (pass_name, name) not in SKIPPED:
                    calls[shape, pass_name, name] = _call(layer, pass_name, x)
    return timing.interleaved(calls, rounds, "layers"), parameters


def _call(layer: keras.layers.Layer, pass_name: str, x: tf.Tensor) -> Callable[[], object]:
    weights = [weight.value for weight in layer.trainable_weights]

    def forward(x):
        return layer(x)

    def forward_and_backward(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            out = layer(x)
        return tape.gradient(out, [x, *weights])

    function = tf.function(forward if pass_name == FORWARD else forward_and_backward)
    concrete = function.get_concrete_function(x)
    return lambda: concrete(x)
