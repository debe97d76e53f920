"""Finds the weights that mix the responses of boxes in a network."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops

from tf_boxconv.layers.base_box_conv import BaseBoxConv2D
from tf_boxconv.ops.arguments import channel_axis

# Layers that keep channels apart. `mixing_weights` ignores their effect on the scale of a channel.
_UNMIXED = (
    *(layers.Activation, layers.ELU, layers.LeakyReLU, layers.PReLU, layers.ReLU),
    *(layers.BatchNormalization, layers.LayerNormalization),
    *(layers.AlphaDropout, layers.Dropout, layers.GaussianDropout, layers.SpatialDropout2D),
)


def own_mixing_weights(layer: BaseBoxConv2D) -> np.ndarray | None:
    """Returns the kernel of a `BoxConv2D` as float64, and None for other layers."""
    return _kernel(layer) if hasattr(layer, "kernel") else None


def _kernel(layer: keras.Layer) -> np.ndarray | None:
    """Returns the kernel of a layer as float64; None if it is quantized in a way not known here."""
    mode = getattr(layer, "quantization_mode", None)
    if mode not in (None, "int8"):
        return None
    kernel = np.asarray(ops.convert_to_numpy(layer.kernel), np.float64)
    return kernel / ops.convert_to_numpy(layer.kernel_scale) if mode else kernel


def mixing_weights(layer: BaseBoxConv2D, model: keras.Model | None = None) -> np.ndarray | None:
    """Returns the weights of the 1x1 convolution that mixes the responses of a layer's boxes.

    A `BoxConv2D` has such weights itself. For a `DepthwiseBoxConv2D` in a functional model they
    are those of the first 1x1 `Conv2D` or `Dense` layer after it. Between the two there may be
    `BatchNormalization`, `LayerNormalization`, activation and dropout layers, and concatenations
    along the channels. The search ends at any other layer. The weights do not include the scale
    factors of the normalizations.

    Args:
        layer: A built `DepthwiseBoxConv2D` or `BoxConv2D`.
        model: The model to search, if several contain the layer. `None` searches all layers after
            the layer's last call.

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
    nodes = None if model is None else _nodes_of(model)
    found = _follow(layer, channel_axis(layer.data_format), nodes)
    if found is None:
        return None
    mixing, start = found
    kernel = _kernel(mixing)
    return None if kernel is None else kernel.reshape(kernel.shape[-2:])[start : start + channels]


def _nodes_of(model: keras.Layer) -> set | None:
    """Returns the nodes of all functional models in a model; None if there are none."""
    nodes = set()
    for part in model._flatten_layers():
        functional = getattr(part, "_functional", None) or part  # A `Sequential` contains one.
        for same_depth in getattr(functional, "_nodes_by_depth", {}).values():
            nodes.update(same_depth)
    return nodes or None


def _follow(layer: keras.Layer, axis: int, nodes: set | None) -> tuple[keras.Layer, int] | None:
    """Returns the layer that mixes channels, and the index of `layer`'s first one in its input.

    Args:
        layer: The box layer.
        axis: The axis of the channels.
        nodes: The nodes to search; None for all.
    """
    calls = [node for node in layer._inbound_nodes if nodes is None or node in nodes]
    if not calls:
        return None
    (tensor,), start = calls[-1].output_tensors, 0
    while True:
        for node in _consumers(tensor, nodes):
            following = node.operation
            if isinstance(following, layers.Conv2D) and following.kernel_size == (1, 1):
                return (following, start) if following.groups == 1 else None
            if isinstance(following, layers.Dense) and axis == 3:
                return following, start
            if isinstance(following, layers.Concatenate) and _axis(following) == axis:
                start += _channels_before(tensor, node, axis)
            elif not isinstance(following, _UNMIXED):
                continue
            (tensor,) = node.output_tensors
            break
        else:
            return None


def _consumers(tensor: keras.KerasTensor, nodes: set | None) -> list:
    """Returns the calls of layers that a tensor is an input of."""
    return [
        node
        for node in tensor._keras_history.operation._outbound_nodes
        if any(tensor is other for other in node.input_tensors) and (nodes is None or node in nodes)
    ]


def _axis(concatenation: layers.Concatenate) -> int:
    return concatenation.axis % 4


def _channels_before(tensor: keras.KerasTensor, node, axis: int) -> int:
    """Returns the number of channels in a concatenation before those of `tensor`."""
    before = 0
    for other in node.input_tensors:
        if other is tensor:
            return before
        before += other.shape[axis]
    raise ValueError(f"A tensor is not an input of '{node.operation.name}'.")
