"""`description.describe` on every backend."""

import json

import keras
import numpy as np

from tf_boxconv import description
from tf_boxconv.layers import BoxBottleneck, DepthwiseBoxConv2D


def test_box_layers_inside_other_layers_are_described():
    inputs = keras.Input((12, 10, 4))
    x = DepthwiseBoxConv2D(1, strides=2, name="alone")(inputs)
    model = keras.Model(inputs, BoxBottleneck(2, name="block")(x))
    model.get_layer("alone").set_boxes(np.float64([[[-1.25, -2, 3.5, 4]]] * 4))
    described = description.describe(model)
    alone, within = described["layers"]
    assert (alone["name"], alone["type"], alone["strides"]) == (
        "alone",
        "DepthwiseBoxConv2D",
        [2, 2],
    )
    assert alone["boxes"][3] == [[-1.25, -2.0, 3.5, 4.0]]
    assert alone["max_size"] == [12, 10] and alone["parameters"] == 16
    assert within["name"] == "block/box_conv"


def test_boxes_that_are_not_finite_are_valid_json():
    layer = DepthwiseBoxConv2D(1)
    model = keras.Sequential([keras.Input((12, 10, 1)), layer])
    layer._boxes.assign(np.full((1, 1, 4), np.nan))
    (described,) = description.describe(model)["layers"]
    assert json.loads(json.dumps(described, allow_nan=False))["boxes"] == [[[None] * 4]]
