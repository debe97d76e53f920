"""Training: boxes get gradients, move where they should, and stay valid."""

import keras
import numpy as np
import pytest
from keras import ops

from tests import reference, tolerances
from tests.backend import layer_gradients, to_float64
from tests.boxes import are_valid, boxes_anywhere
from tests.images import images
from tests.layers.cases import LAYERS, inner_box_layer, make
from tests.seeds import seed_weights
from tf_boxconv.layers import DepthwiseBoxConv2D


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_fit_reduces_the_loss_and_boxes_stay_valid(name, policy):
    seed_weights(0)
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
    assert are_valid(after, (8, 10))


def test_the_constraint_holds_after_every_step_whatever_the_gradients():
    """Each step is longer than the planes. Without the constraint boxes do not stay valid."""
    model = keras.Sequential([keras.Input((8, 10, 4)), DepthwiseBoxConv2D(4)])
    model.compile(keras.optimizers.Adam(3.0), "mse")
    x, y = images((4, 8, 10, 4)), images((4, 8, 10, 16), seed=1)
    for _ in range(10):
        model.train_on_batch(x, y)
        assert are_valid(to_float64(model.layers[0].boxes), (8, 10))
    layer = DepthwiseBoxConv2D(4, boxes_constraint=None)
    unconstrained = keras.Sequential([keras.Input((8, 10, 4)), layer])
    unconstrained.compile(keras.optimizers.Adam(3.0), "mse")
    unconstrained.fit(x, y, epochs=10, verbose=0)
    assert not are_valid(to_float64(layer.boxes), (8, 10))


@pytest.mark.parametrize("normalization", ["area", "valid", None])
def test_gradients_to_stored_boxes_are_those_to_pixels_times_the_scale(normalization):
    x, upstream = images((2, 9, 11, 3)), images((2, 9, 11, 6), seed=1)
    layer = DepthwiseBoxConv2D(2, normalization=normalization, max_size=(9, 22))
    layer.build(x.shape)
    layer.set_boxes(boxes_anywhere(3, 2, reach=9))
    to_x, got = layer_gradients(lambda y: ops.sum(y * ops.convert_to_tensor(upstream)), layer, x)
    boxes = to_float64(layer.boxes)
    wanted_to_x, wanted = reference.box_conv2d_gradients(x, boxes, upstream, (1, 1), normalization)
    wanted = wanted * np.tile(layer.scale, 2)
    for found, expected in ((got, wanted), (to_x, wanted_to_x)):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(
            to_float64(found) / scale, expected / scale, **tolerances.MODELS["float32"]
        )


def test_training_recovers_a_box_from_its_outputs():
    """The edges are right to a tenth of a pixel."""
    true_box = np.array([[[-3.0, -1.0, 5.0, 2.0]]])
    x = images((8, 24, 24, 1))
    y = reference.box_conv2d(x, true_box).astype(np.float32)
    layer = DepthwiseBoxConv2D()
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    layer.set_boxes([[[-1.0, -3.0, 2.0, 4.0]]])
    schedule = keras.optimizers.schedules.CosineDecay(0.03, 300)
    model.compile(keras.optimizers.Adam(schedule), "mse")
    for _ in range(300):
        model.train_on_batch(x, y)
    np.testing.assert_allclose(to_float64(layer.boxes), true_box, atol=0.1)


def test_boxes_can_be_excluded_from_weight_decay_by_name():
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
