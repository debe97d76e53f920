"""Times whole Keras layers: `BoxConv2D` beside Keras's convolutions, and beside itself unfused."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

import tf_boxconv
from benchmarks import timing
from benchmarks.cases import FORWARD, FORWARD_BACKWARD, PASSES, Case
from tf_boxconv.layers import BoxConv2D
from tf_boxconv.ops.mixing import add_bias, mix_channels

BASE = "Conv2D 3x3"
SEPARABLE = "SeparableConv2D 3x3"
ONE_BOX = "BoxConv2D, 1 box per channel"
FOUR_BOXES = "BoxConv2D, 4 boxes per channel"
# Each layer keeps the number of channels, so all of them can stand in the same place of a network.
LAYERS: dict[str, Callable[[int], keras.layers.Layer]] = {
    BASE: lambda channels: keras.layers.Conv2D(channels, 3, padding="same"),
    "Conv2D 7x7": lambda channels: keras.layers.Conv2D(channels, 7, padding="same"),
    SEPARABLE: lambda channels: keras.layers.SeparableConv2D(channels, 3, padding="same"),
    "SeparableConv2D 31x31": lambda channels: keras.layers.SeparableConv2D(
        channels, 31, padding="same"
    ),
    ONE_BOX: lambda channels: BoxConv2D(channels, depth_multiplier=1),
    FOUR_BOXES: lambda channels: BoxConv2D(channels, depth_multiplier=4),
}
Shape = tuple[int, int, int, int]
Key = tuple[Shape, str, str]  # shape of the input, pass, layer
# The gradient of a 31x31 depthwise kernel takes seconds in TensorFlow.
SKIPPED = {(FORWARD_BACKWARD, "SeparableConv2D 31x31")}

FUSED, UNFUSED = "BoxConv2D", "BoxConv2D, unfused"


class UnfusedBoxConv2D(BoxConv2D):
    """`BoxConv2D` as two operators: boxes, then a matrix product with all their responses."""

    def call(self, inputs):
        """Computes the output. The layer must have a bias."""
        responses = tf_boxconv.box_conv2d(**self._operator_arguments(inputs))
        outputs = mix_channels(responses, self.kernel, self.data_format)
        return self._activate(add_bias(outputs, self.bias, self.data_format))


def fused_and_unfused(case: Case, filters: int) -> dict[str, BoxConv2D]:
    """Returns two built layers with the same weights, `FUSED` and `UNFUSED`."""
    arguments = {
        "depth_multiplier": case.multiplier,
        "data_format": case.data_format,
        "normalization": case.normalization,
        "dtype": case.dtype,
    }
    layers = {
        FUSED: BoxConv2D(filters, **arguments),
        UNFUSED: UnfusedBoxConv2D(filters, **arguments),
    }
    for layer in layers.values():
        layer.build(case.shape)
        layer.set_weights(layers[FUSED].get_weights())
    return layers


def measure(
    shapes: Sequence[Shape], rounds: int, names: Sequence[str] = tuple(LAYERS)
) -> tuple[dict[Key, list[float]], dict[tuple[Shape, str], int]]:
    """Times layers in interleaved rounds. Runs in a worker.

    Args:
        shapes: Shapes of the inputs, `[N, H, W, C]`.
        rounds: Number of rounds.
        names: Which of `LAYERS` to time.

    Returns:
        Seconds of each call in every round, and the trainable parameters of each layer.
    """
    calls, parameters = {}, {}
    for shape in shapes:
        x, output_grad = random_images(shape), random_images(shape, seed=1)
        for name in names:
            layer = LAYERS[name](shape[-1])
            layer.build(shape)
            parameters[shape, name] = sum(int(np.prod(w.shape)) for w in layer.trainable_weights)
            for pass_name in PASSES:
                if (pass_name, name) not in SKIPPED:
                    calls[shape, pass_name, name] = compile_call(layer, pass_name, x, output_grad)
    return timing.interleaved(calls, rounds, "layers"), parameters


def measure_fused(
    case: Case, filters: int, rounds: int, title: str = ""
) -> dict[tuple[str, str], list[float]]:
    """Times `BoxConv2D` and the same layer unfused in interleaved rounds. Runs in a worker.

    Args:
        case: The input and the number of boxes for each channel.
        filters: Number of filters.
        rounds: Number of rounds.
        title: Title of the progress bar.

    Returns:
        Seconds of each call in every round. A key is a pass and `FUSED` or `UNFUSED`.
    """
    layers = fused_and_unfused(case, filters)
    x = random_images(case.shape, case.dtype)
    output_shape = layers[FUSED].compute_output_shape(case.shape)
    output_grad = random_images(output_shape, case.dtype, seed=1)
    calls = {
        (pass_name, name): compile_call(layer, pass_name, x, output_grad)
        for pass_name in PASSES
        for name, layer in layers.items()
    }
    return timing.interleaved(calls, rounds, title)


def random_images(shape: Sequence[int], dtype: str = "float32", seed: int = 0) -> tf.Tensor:
    """Returns normally distributed numbers."""
    return tf.cast(np.random.default_rng(seed).standard_normal(shape, np.float32), dtype)


def compile_call(
    layer: keras.layers.Layer, pass_name: str, x: tf.Tensor, output_grad: tf.Tensor
) -> Callable[[], object]:
    """Compiles a call that returns the output, or the output and all gradients."""
    weights = [weight.value for weight in layer.trainable_weights]

    def forward(x, output_grad):
        return layer(x)

    def forward_and_backward(x, output_grad):
        with tf.GradientTape() as tape:
            tape.watch(x)
            out = layer(x)
        # In training, the gradient of the output depends on the output. Without this, TensorFlow
        # could run both passes at the same time.
        with tf.control_dependencies([out]):
            output_grad = tf.identity(output_grad)
        # Also return the output; otherwise TensorFlow would skip the forward pass.
        return out, *tape.gradient(out, [x, *weights], output_grad)

    function = tf.function(forward if pass_name == FORWARD else forward_and_backward)
    concrete = function.get_concrete_function(x, output_grad)
    return lambda: concrete(x, output_grad)
