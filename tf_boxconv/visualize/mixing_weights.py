"""Finds the weights that mix the responses of boxes in a network."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops

from tf_boxconv.layers.base_box_conv import BaseBoxConv2D

# Layers that keep channels apart. `mixing_weights` ignores their effect on the scale of a channel.
_UNMIXED = (
    *(layers.Activation, layers.ELU, layers.LeakyReLU, layers.PReLU, layers.ReLU),
    *(layers.BatchNormalization, layers.LayerNormalization),
    *(layers.AlphaDropout, layers.Dropout, layers.GaussianDropout, layers.SpatialDropout2D),
)


def own_mixing_weights(layer: BaseBoxConv2D) -> np.ndarray | None:
    """Returns the kernel of a `BoxConv2D` as float64, and None for other layers."""
    kernel = getattr(layer, "kernel", None)
    return None if kernel is None else np.asarray(ops.convert_to_numpy(kernel), np.float64)


def mixing_weights(layer: BaseBoxConv2D) -> np.ndarray | None:
    """Returns the weights of the 1x1 convolution that mixes the responses of a layer's boxes.

    A `BoxConv2D` has such weights itself. For a `DepthwiseBoxConv2D` in a functional model they
    are those of the first 1x1 `Conv2D` or `Dense` layer after it. Between the two there may be
    `BatchNormalization`, `LayerNormalization`, activation and dropout layers, and concatenations
    along the channels. The search ends at any other layer. The weights do not include the scale
    factors of the normalizations.

    Args:
        layer: A built `DepthwiseBoxConv2D` or `BoxConv2D`.

    Returns:
        float64 array with shape `[channels * depth_multiplier, filters]`, or `None` if there is no
        such layer.

    Example:
    >>> boxes = tf_boxconv.layers.DepthwiseBoxConv2D(2)
    >>> model = keras.Sequential(
    ...     [keras.Input((48, 48, 3)), boxes, keras.layers.ReLU(), keras.layers.Conv2D(8, 1)]
    ... )
    >>> tf_boxconv.visualize.mixing_weights(boxes).shape
    (6, 8)
    """
    own = own_mixing_weights(layer)
    if own is not None:
        return own
    channels = int(np.prod(layer.boxes.shape[:2]))
    found = _follow(layer, channel_axis=3 if layer.data_format == "channels_last" else 1)
    if found is None:
        return None
    mixing, start = found
    kernel = np.asarray(ops.convert_to_numpy(mixing.kernel), np.float64)
    return kernel.reshape(kernel.shape[-2:])[start : start + channels]


def _follow(layer: keras.Layer, channel_axis: int) -> tuple[keras.Layer, int] | None:
    """Returns the layer that mixes channels, and the index of `layer`'s first one in its input."""
    start = 0
    visited = set()
    while layer not in visited:
        visited.add(layer)
        for node in layer._outbound_nodes:
            following = node.operation
            if isinstance(following, layers.Conv2D) and following.kernel_size == (1, 1):
                return (following, start) if following.groups == 1 else None
            if isinstance(following, layers.Dense) and channel_axis == 3:
                return following, start
            if isinstance(following, layers.Concatenate) and _axis(following) == channel_axis:
                start += _channels_before(layer, node, channel_axis)
            elif not isinstance(following, _UNMIXED):
                continue
            layer = following
            break
    return None


def _axis(concatenation: layers.Concatenate) -> int:
    return concatenation.axis % 4


def _channels_before(layer: keras.Layer, node, channel_axis: int) -> int:
    """Returns the number of channels in a concatenation before those of `layer`."""
    before = 0
    for tensor in node.input_tensors:
        if tensor._keras_history.operation is layer:
            return before
        before += tensor.shape[channel_axis]
    raise ValueError(f"'{layer.name}' is not an input of '{node.operation.name}'.")
