"""The layers with arguments for small tests, and helpers that know their differences."""

import math

from tf_boxconv.layers import BoxBottleneck, BoxConv2D, DepthwiseBoxConv2D

# Each layer's class and arguments, by a short name. With these arguments all accept 8 channels.
LAYERS = {
    "depthwise": (DepthwiseBoxConv2D, {"depth_multiplier": 2}),
    "box_conv2d": (BoxConv2D, {"filters": 5, "depth_multiplier": 3}),
    "bottleneck": (BoxBottleneck, {"depth_multiplier": 4}),
}


def make(name, /, **kwargs):
    """Makes a layer of `LAYERS`; `kwargs` add arguments or replace those of `LAYERS`."""
    cls, arguments = LAYERS[name]
    return cls(**{**arguments, **kwargs})


def trainable_parameters(layer):
    """Returns the number of parameters that training changes, without the scale of the boxes."""
    return sum(math.prod(weight.shape) for weight in layer.trainable_weights)


def inner_box_layer(layer):
    """Returns the layer that owns the boxes."""
    return layer.box_conv if isinstance(layer, BoxBottleneck) else layer
