"""Networks that earlier versions saved are converted, and compute the same."""

import keras
import numpy as np
import pytest

from examples.pose.evaluation import multiply_adds
from examples.pose.models import older
from examples.pose.training.run_folder import RunFolder
from tests.examples.pose.models import earlier_blocks
from tests.examples.pose.models.test_models import outputs, small, wide_layers
from tests.examples.pose.pretrained import STICK_FIGURES
from tf_boxconv import visualize
from tf_boxconv.layers import BoxConv2D, DepthwiseBoxConv2D


def earlier(name, **arguments):
    with earlier_blocks.built():
        return small(name, **arguments)


def layer_types(model):
    return {layer.name: type(layer) for layer in model.layers}


@pytest.mark.parametrize("context", ["box", "pure_box", "depthwise", "dilated"])
@pytest.mark.parametrize("name", ["light", "u_net", "full_resolution"])
def test_converted_networks_compute_the_same(name, context):
    model = earlier(name, context=context, boxes=2)
    converted, now = older.convert_model(model), small(name, context=context, boxes=2)
    assert layer_types(converted) == layer_types(now) != layer_types(model)
    assert {v.path for v in converted.variables} == {v.path for v in now.variables}
    assert converted.count_params() == model.count_params()
    assert multiply_adds.multiply_adds(converted) == multiply_adds.multiply_adds(model)
    for value, expected in zip(outputs(converted), outputs(model), strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(value, expected, atol=1e-5 * scale)


@pytest.mark.parametrize(
    "arguments",
    [
        {"context": "dense"},
        {"box_options": {"trainable": False}},
        {"box_options": {"activation": "relu"}},
        {"box_options": {"use_bias": True}},
    ],
)
def test_blocks_that_cannot_be_replaced_stay(arguments):
    model = earlier("light", **arguments)
    assert layer_types(model) == layer_types(small("light", **arguments))
    assert older.convert_model(model) is model
    hourglass = small("hourglass")
    assert older.convert_model(hourglass) is hourglass


def test_boxes_and_mixing_weights_of_a_converted_network():
    model = earlier("u_net", boxes=2)
    converted = older.convert_model(model)
    for layer, expected in zip(wide_layers(converted), wide_layers(model), strict=True):
        assert layer.name == expected.name
        np.testing.assert_array_equal(layer.boxes, expected.boxes)
        np.testing.assert_array_equal(
            visualize.mixing_weights(layer), visualize.mixing_weights(expected)
        )


def test_the_network_for_drawn_figures_is_converted():
    """Its file was written before the conversion existed."""
    run = RunFolder(STICK_FIGURES)
    model = keras.models.load_model(run.model_path, compile=False)
    assert {type(layer) for layer in wide_layers(model)} == {DepthwiseBoxConv2D}
    converted = run.load_model()
    assert {type(layer) for layer in wide_layers(converted)} == {BoxConv2D}
    size = run.config["image_size"]
    pictures = np.random.default_rng(0).uniform(0, 255, (2, size, size, 3)).astype(np.float32)
    expected = model(pictures)
    np.testing.assert_allclose(
        converted(pictures), expected, atol=1e-5 * np.abs(expected).max(), rtol=0
    )
