"""Multiply-adds of the pose networks, counted layer by layer.

A convolution costs its kernel's size for every output; `DepthwiseBoxConv2D` costs
`BOX_MULTIPLY_ADDS` for every output whatever the size of the box, much as a 3x3 kernel (9), which
is also what it takes in time. As is usual, normalisation, activation, addition and resizing are not
counted.
"""

import math

import keras
from keras import layers

from tf_boxconv.layers import DepthwiseBoxConv2D

# Per output: prefix sums down the columns and along the row (2), two interpolated prefix rows (4)
# and, at the fractional left and right edges, two interpolated reads (2). Differences and the
# division by the area join in as the addition of a multiply-add.
BOX_MULTIPLY_ADDS = 8


def multiply_adds(model: keras.Model) -> int:
    """Counts the multiply-adds of one image through a functional model with fixed image size.

    Args:
        model: Made of the layers that `examples.pose.models` uses.

    Raises:
        TypeError: A layer with weights is of a type that this function does not know.
    """
    return sum(_layer_multiply_adds(layer) for layer in model.layers)


def _layer_multiply_adds(layer: keras.Layer) -> int:
    if isinstance(layer, layers.DepthwiseConv2D):
        return math.prod(layer.kernel_size) * math.prod(layer.output.shape[1:])
    if isinstance(layer, layers.Conv2D):
        return math.prod(layer.kernel.shape[:3]) * math.prod(layer.output.shape[1:])
    if isinstance(layer, DepthwiseBoxConv2D):
        return BOX_MULTIPLY_ADDS * math.prod(layer.output.shape[1:])
    if layer.weights and not isinstance(layer, layers.BatchNormalization):
        raise TypeError(f"No rule to count multiply-adds of {type(layer).__name__} {layer.name!r}.")
    return 0
