"""Describes the box layers of a model as JSON values; `tf_boxconv.export` stores the result."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tf_boxconv.layers.base_box_conv import BaseBoxConv2D
from tf_boxconv.version import __version__

# Every export contains this word, so that a later export can recognise and replace it.
MARK = "tf_boxconv"
# The name of the file in a SavedModel that contains the description.
FILE_NAME = f"{MARK}.json"


def describe(model: keras.Model) -> dict[str, Any]:
    """Describes a built model: its name, its size, and its box layers with boxes in pixels."""
    return {
        MARK: __version__,
        "model": model.name,
        "parameters": int(model.count_params()),
        "layers": [_describe_layer(layer) for layer in box_layers(model)],
    }


def box_layers(model: keras.Model) -> Iterator[BaseBoxConv2D]:
    """Yields the built box layers of a model, including those inside other layers."""
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, BaseBoxConv2D) and layer.built:
            yield layer


def layer_path(layer: BaseBoxConv2D) -> str:
    """Returns the path of a built box layer in its model, like `"model/block/box_conv"`."""
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
        # The scale of the boxes is not counted: training does not change it.
        "parameters": int(layer.count_params() - math.prod(layer._scale_weight.shape)),
        "boxes": _json_numbers(np.round(np.float64(keras.ops.convert_to_numpy(layer.boxes)), 5)),
    }


def _json_numbers(array: np.ndarray) -> list:
    """Returns an array as nested lists. NaN and infinity, which JSON lacks, become None."""
    return np.where(np.isfinite(array), array, None).tolist()
