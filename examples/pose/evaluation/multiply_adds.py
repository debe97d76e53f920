"""Counts the multiply-adds of the pose networks, layer by layer.

A convolution needs as many multiply-adds per output as its kernel has elements.
A box needs `BOX_MULTIPLY_ADDS` per response whatever its size. That is about the cost of a 3x3
depthwise kernel (9), in time as well. `SeparableConv2D` and `BoxConv2D` then mix the responses, as
a 1x1 convolution does. As usual, normalisation, activation, addition and resizing are not counted.
"""

import math

import keras
from keras import layers

from tf_boxconv.layers import BoxConv2D, DepthwiseBoxConv2D

# Per response: prefix sums down the columns and along the row (2), two interpolated prefix rows
# (4), and two interpolated reads at the fractional left and right edges (2). Differences and the
# division by the area are the additions and multiplications of these multiply-adds.
BOX_MULTIPLY_ADDS = 8


def multiply_adds(model: keras.Model) -> int:
    """Counts the multiply-adds of a model for one image.

    Args:
        model: A functional model with a fixed image size and layers as in `examples.pose.models`.

    Raises:
        TypeError: There is no rule for the type of a layer that has weights.
    """
    return sum(_layer_multiply_adds(layer) for layer in model.layers)


def _layer_multiply_adds(layer: keras.Layer) -> int:
    """The multiply-adds of a layer whose weights have one of the known types."""
    if isinstance(layer, layers.DepthwiseConv2D):
        return math.prod(layer.kernel_size) * math.prod(layer.output.shape[1:])
    if isinstance(layer, layers.Conv2D):
        return math.prod(layer.kernel.shape[:3]) * math.prod(layer.output.shape[1:])
    if isinstance(layer, DepthwiseBoxConv2D):
        return BOX_MULTIPLY_ADDS * math.prod(layer.output.shape[1:])
    if isinstance(layer, layers.SeparableConv2D):
        return _filter_and_mix(layer, math.prod(layer.kernel_size), layer.pointwise_kernel)
    if isinstance(layer, BoxConv2D):
        return _filter_and_mix(layer, BOX_MULTIPLY_ADDS, layer.kernel)
    if layer.weights and not isinstance(layer, layers.BatchNormalization):
        raise TypeError(f"No rule to count multiply-adds of {type(layer).__name__} {layer.name!r}.")
    return 0


def _filter_and_mix(layer: keras.Layer, multiply_adds_per_response: int, mixing) -> int:
    """The multiply-adds of filters whose responses weights `[..., responses, filters]` mix."""
    responses, filters = mixing.shape[-2:]
    return (multiply_adds_per_response + filters) * responses * math.prod(layer.output.shape[1:3])
