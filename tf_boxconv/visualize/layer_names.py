"""Finds the box layers of a model and gives each a name that is unique in the model.

The name is the layer's path without the name of the model, like `"block2/box_conv"`.
"""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np

from tf_boxconv.description import box_layers, layer_path
from tf_boxconv.layers.base_box_conv import BaseBoxConv2D
from tf_boxconv.visualize.kernels import boxes_array


def named_box_layers(layer: keras.Layer) -> dict[str, BaseBoxConv2D]:
    """Returns the built box layers of a model by name, in the order of the model.

    Args:
        layer: A box layer, or a model or layer that contains box layers.

    Raises:
        TypeError: If `layer` is not a Keras layer.
        ValueError: If it has no box layers that are built.
    """
    if isinstance(layer, BaseBoxConv2D) and layer.built:
        return {layer.name: layer}
    if not isinstance(layer, keras.Layer):
        raise TypeError(f"`layer` must be a box layer or a model. Received: {type(layer).__name__}")
    named = {}
    for found in box_layers(layer):
        # The path may begin with the names of `layer` and of models around it, or with neither.
        path = name = f"/{layer_path(found)}".split(f"/{layer.name}/", 1)[-1].removeprefix("/")
        copies = 1
        while name in named:  # Layers of two nested functional models may have the same path.
            copies += 1
            name = f"{path} ({copies})"
        named[name] = found
    if not named:
        raise ValueError(
            "`layer` must be a built box layer, or a model or layer that contains one. Received: "
            f"a {type(layer).__name__} named '{layer.name}' without built box layers"
        )
    return named


def boxes_by_layer(layer: keras.Layer) -> dict[str, np.ndarray]:
    """Returns the boxes of all box layers of a model.

    Args:
        layer: A built model, or a layer that is a box layer or contains box layers.

    Returns:
        A dict from the name of each box layer to its boxes, a float64 array with shape
        `[channels, depth_multiplier, 4]` of `(y_min, x_min, y_max, x_max)` in pixels, relative to
        the centre of the output pixel. The name of a nested layer includes those of the layers
        around it, like `"block2/box_conv"`.

    Raises:
        TypeError: If `layer` is not a Keras layer.
        ValueError: If it has no box layers that are built.

    Example:
    >>> model = keras.Sequential(
    ...     [keras.Input((48, 48, 3)), tf_boxconv.layers.BoxConv2D(8, name="context")]
    ... )
    >>> boxes = tf_boxconv.visualize.boxes_by_layer(model)
    >>> boxes["context"].shape
    (3, 4, 4)
    """
    return {name: boxes_array(found) for name, found in named_box_layers(layer).items()}


def find_boxes(
    boxes: Mapping[str, np.ndarray], name: str, layer: BaseBoxConv2D
) -> np.ndarray | None:
    """Returns the boxes of one layer from the result of `boxes_by_layer`, or None.

    Names also match if one of them lacks the outer layers: `"box_conv"` is found as
    `"block2/box_conv"` and the other way round. The longest matching name wins.
    """
    if name in boxes:
        return boxes[name]
    path = f"/{layer_path(layer)}"
    matches = [key for key in boxes if path.endswith(f"/{key}") or f"/{key}".endswith(path)]
    return boxes[max(matches, key=len)] if matches else None
