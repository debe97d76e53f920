"""The layers with small arguments, and what the tests need to know about them."""

import math

from tf_boxconv.layers import BoxBottleneck, BoxConv2D, DepthwiseBoxConv2D

# All layers take 8 channels, and each has all arguments that it requires.
LAYERS = {
    "depthwise": (DepthwiseBoxConv2D, {"depth_multiplier": 2}),
    "full": (BoxConv2D, {"filters": 5, "depth_multiplier": 3}),
    "bottleneck": (BoxBottleneck, {"depth_multiplier": 4}),
}


def make(name, /, **kwargs):
    cls, required = LAYERS[name]
    return cls(**{**required, **kwargs})


def trainable_parameters(layer):
    """The number of parameters that training changes. The scale of the boxes is not among them."""
    return sum(math.prod(weight.shape) for weight in layer.trainable_weights)


def inner_box_layer(layer):
    """The layer that owns the boxes."""
    return layer.box_conv if isinstance(layer, BoxBottleneck) else layer
