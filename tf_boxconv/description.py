"""What there is to say of a model's box layers, as JSON values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tf_boxconv.layers.base_box_conv import BaseBoxConv2D
from tf_boxconv.version import __version__

# Every export carries this word, by which a later one recognises it.
MARK = "tf_boxconv"
# The name under which SavedModels carry the description.
FILE_NAME = f"{MARK}.json"


def describe(model: keras.Model) -> dict[str, Any]:
    """Describes a built model: its parameters and each box layer with its boxes in pixels."""
    return {
        MARK: __version__,
        "model": model.name,
        "parameters": int(model.count_params()),
        "layers": [_describe_layer(layer) for layer in box_layers(model)],
    }


def box_layers(model: keras.Model) -> Iterator[BaseBoxConv2D]:
    """The layers that own boxes, those within other layers included."""
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, BaseBoxConv2D) and layer.built:
            yield layer


def layer_path(layer: BaseBoxConv2D) -> str:
    """The name of a built box layer in its model, those of the layers it lies in before it."""
    return layer._boxes.path.rsplit("/", 1)[0]


def _describe_layer(layer: BaseBoxConv2D) -> dict[str, Any]:
    return {
        "name": layer_path(layer),
        "type": type(layer).__name__,
        "strides": list(layer.strides),
        "normalization": layer.normalization,
        "data_format": layer.data_format,
        "implementation": layer.implementation,
        "max_size": list(layer._plane_size),
        # Without the scale of the boxes, which no training changes.
        "parameters": int(layer.count_params() - math.prod(layer._scale_weight.shape)),
        "boxes": np.round(np.float64(keras.ops.convert_to_numpy(layer.boxes)), 5).tolist(),
    }
