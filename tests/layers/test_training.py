"""Training: boxes get gradients, move where they should, and stay valid."""

import keras
import numpy as np
import pytest
from keras import ops

from tests import reference
from tests.backend import layer_gradients, to_float64
from tests.layers.cases import LAYERS, images, inner_box_layer, make, random_boxes
from tf_boxconv.layers import DepthwiseBoxConv2D


def valid(boxes, limit):
    boxes = to_float64(boxes)
    size = boxes[..., 2:] - boxes[..., :2]
    return bool(np.all(size >= 1 - 1e-4) and np.all(np.abs(boxes) <= np.tile(limit, 2) + 1e-4))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_fit_reduces_the_loss_and_boxes_stay_valid(name, policy):
    keras.utils.set_random_seed(0)
    x = images((16, 8, 10, 8))
    target = images((16, 8, 10, 8), seed=1)[..., :3] * 0.1 + np.roll(x, 2, 1)[..., :3]
    model = keras.Sequential(
        [
            keras.Input(x.shape[1:]),
            make(name, dtype=policy),
            keras.layers.Conv2D(3, 1, dtype="float32"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.03), "mse")
    box_layer = inner_box_layer(model.layers[0])
    before = to_float64(box_layer.boxes)
    losses = model.fit(x, target, epochs=15, batch_size=8, verbose=0).history["loss"]
    assert np.all(np.isfinite(losses))
    assert losses[-1] < 0.95 * losses[0]
    after = to_float64(box_layer.boxes)
    assert np.abs(after - before).max() > 0.5
    assert valid(after, (8, 10))


def test_the_constraint_holds_after_every_step_whatever_the_gradients():
    """Steps of many planes a time, under which boxes would collapse, invert and fly off."""
    model = keras.Sequential([keras.Input((8, 10, 4)), DepthwiseBoxConv2D(4)])
    model.compile(keras.optimizers.Adam(3.0), "mse")
    x, y = images((4, 8, 10, 4)), images((4, 8, 10, 16), seed=1)
    for _ in range(10):
        model.train_on_batch(x, y)
        assert valid(model.layers[0].boxes, (8, 10))
    # Without it they do not stay valid: the test would notice.
    free = keras.Sequential([keras.Input((8, 10, 4)), DepthwiseBoxConv2D(4, boxes_constraint=None)])
    free.compile(keras.optimizers.Adam(3.0), "mse")
    free.fit(x, y, epochs=10, verbose=0)
    assert not valid(free.layers[0].boxes, (8, 10))


@pytest.mark.parametrize("normalization", ["area", "valid", None])
def test_gradients_are_those_of_pixels_times_the_scale(normalization):
    x, upstream = images((2, 9, 11, 3)), images((2, 9, 11, 6), seed=1)
    layer = DepthwiseBoxConv2D(2, normalization=normalization, max_size=(9, 22))
    layer.build(x.shape)
    layer.set_boxes(random_boxes(3, 2))
    to_x, got = layer_gradients(lambda y: ops.sum(y * ops.convert_to_tensor(upstream)), layer, x)
    boxes = to_float64(layer.boxes)
    wanted_to_x, wanted = reference.box_conv2d_gradients(x, boxes, upstream, (1, 1), normalization)
    wanted = wanted * np.tile(layer.scale, 2)
    for found, expected in ((got, wanted), (to_x, wanted_to_x)):
        atol = 1e-3 * np.abs(expected).max()
        np.testing.assert_allclose(to_float64(found), expected, rtol=1e-3, atol=atol)


def test_a_layer_finds_a_hidden_box():
    """From what a box does to images to where its edges are, to a tenth of a pixel."""
    hidden = np.array([[[-3.0, -1.0, 5.0, 2.0]]])
    x = images((8, 24, 24, 1))
    y = reference.box_conv2d(x, hidden).astype(np.float32)
    layer = DepthwiseBoxConv2D()
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    layer.set_boxes([[[-1.0, -3.0, 2.0, 4.0]]])
    schedule = keras.optimizers.schedules.CosineDecay(0.03, 300)
    model.compile(keras.optimizers.Adam(schedule), "mse")
    for _ in range(300):
        model.train_on_batch(x, y)
    np.testing.assert_allclose(to_float64(layer.boxes), hidden, atol=0.1)


def test_boxes_can_be_kept_out_of_weight_decay():
    """As the docstring says: by the name of the weight."""
    layer = DepthwiseBoxConv2D(2)
    model = keras.Sequential([keras.Input((8, 8, 3)), layer, keras.layers.Conv2D(1, 1)])
    optimizer = keras.optimizers.AdamW(1e-3, weight_decay=100.0)
    optimizer.exclude_from_weight_decay(var_names=["boxes"])
    model.compile(optimizer, "mse")
    boxes, kernel = to_float64(layer.boxes), to_float64(model.layers[1].kernel)
    model.fit(images((4, 8, 8, 3)), np.zeros((4, 8, 8, 1)), verbose=0)
    assert np.abs(to_float64(layer.boxes) - boxes).max() < 0.02 * 8
    assert np.abs(to_float64(model.layers[1].kernel) - 0.9 * kernel).max() < 0.02


def test_frozen_boxes_do_not_move():
    layer = DepthwiseBoxConv2D(2, trainable=False)
    model = keras.Sequential([keras.Input((8, 8, 3)), layer, keras.layers.Conv2D(1, 1)])
    model.compile("sgd", "mse")
    before = to_float64(layer.boxes)
    model.fit(images((4, 8, 8, 3)), np.ones((4, 8, 8, 1)), verbose=0)
    np.testing.assert_array_equal(to_float64(layer.boxes), before)
    assert layer.trainable_weights == []
