"""What the layer tests share: the layers with small arguments, random boxes and images."""

import math

import numpy as np

from tf_boxconv.layers import BoxBottleneck, BoxConv2D, DepthwiseBoxConv2D

DATA_FORMATS = ("channels_last", "channels_first")

# Every layer, with the arguments that it cannot do without. All take 8 channels.
LAYERS = {
    "depthwise": (DepthwiseBoxConv2D, {"depth_multiplier": 2}),
    "full": (BoxConv2D, {"filters": 5, "depth_multiplier": 3}),
    "bottleneck": (BoxBottleneck, {"depth_multiplier": 4}),
}


def make(name, /, **kwargs):
    cls, required = LAYERS[name]
    return cls(**{**required, **kwargs})


def image_shape(data_format, height=9, width=11, channels=8, batch=2):
    if data_format == "channels_last":
        return (batch, height, width, channels)
    return (batch, channels, height, width)


def images(shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def random_boxes(channels, multiplier, size=9, seed=0):
    """Boxes inside, across and outside a plane of this size, as float64."""
    rng = np.random.default_rng(seed)
    low = rng.uniform(-size, size / 2, [channels, multiplier, 2])
    return np.concatenate([low, low + rng.uniform(0.3, size, low.shape)], -1)


def trainable_parameters(layer):
    """The number of parameters that training changes: all but the scale of the boxes."""
    return sum(math.prod(weight.shape) for weight in layer.trainable_weights)


def inner_box_layer(layer):
    """The layer that owns the boxes."""
    return layer.box_conv if isinstance(layer, BoxBottleneck) else layer
