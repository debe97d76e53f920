import keras
import numpy as np
import pytest

from examples.pose import model_cost, models
from tf_boxconv.layers import DepthwiseBoxConv2D


@pytest.fixture(scope="module")
def twins():
    return {kind: models.pose_net(kind, image_size=32, width=8) for kind in models.KINDS}


def wide_layers(model):
    return [layer for layer in model.layers if layer.name.endswith("_far")]


@pytest.mark.parametrize("kind", models.KINDS)
def test_contract(twins, kind):
    model = twins[kind]
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    logits = model(images)
    assert logits.shape == (2, 16, 16, 14) and logits.dtype == "float32"
    assert np.all(np.isfinite(logits)) and np.ptp(logits) > 0
    assert model.output_shape == (None, 16, 16, 14)


def test_twins_differ_in_the_wide_layers_only(twins):
    box, depthwise = twins["box"], twins["depthwise"]
    assert [layer.name for layer in box.layers] == [layer.name for layer in depthwise.layers]
    boxes, kernels = wide_layers(box), wide_layers(depthwise)
    assert len(boxes) == sum(models.ENCODER_BLOCKS) + sum(models.DECODER_BLOCKS) > 0
    assert all(isinstance(layer, DepthwiseBoxConv2D) for layer in boxes)
    assert all(layer.kernel_size == (7, 7) for layer in kernels)
    for one, other in zip(box.layers, depthwise.layers, strict=True):
        if one not in boxes:
            assert type(one) is type(other) and one.get_config() == other.get_config()
        assert one.output.shape == other.output.shape
    channels = sum(layer.output.shape[-1] for layer in boxes)
    assert depthwise.count_params() - box.count_params() == channels * (7 * 7 - 4)


def test_kernel_size_reaches_the_twin():
    model = models.pose_net("depthwise", image_size=32, width=8, kernel_size=5)
    assert {layer.kernel_size for layer in wide_layers(model)} == {(5, 5)}


def test_all_weights_learn(twins):
    """No part of the network is cut off from the loss."""
    model = twins["box"]
    before = [weight.numpy() for weight in model.trainable_weights]
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    images = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype(np.float32)
    model.fit(images, np.random.default_rng(1).normal(size=(4, 16, 16, 14)), verbose=0)
    for weight, old in zip(model.trainable_weights, before, strict=True):
        assert np.any(weight.numpy() != old), weight.path


def test_multiply_adds(twins):
    image = keras.Input((8, 6, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same")(image)  # 4x3 outputs
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.DepthwiseConv2D(5, padding="same")(x)
    x = DepthwiseBoxConv2D(depth_multiplier=2)(x)
    model = keras.Model(image, keras.layers.Conv2D(7, 1)(x))
    expected = 12 * (4 * 3 * 9 + 4 * 25 + 8 * model_cost.BOX_MULTIPLY_ADDS + 8 * 7)
    assert model_cost.multiply_adds(model) == expected
    gap = model_cost.multiply_adds(twins["depthwise"]) - model_cost.multiply_adds(twins["box"])
    outputs = sum(np.prod(layer.output.shape[1:]) for layer in wide_layers(twins["box"]))
    assert gap == outputs * (49 - model_cost.BOX_MULTIPLY_ADDS)


def test_multiply_adds_refuses_layers_it_does_not_know():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(TypeError, match="Dense"):
        model_cost.multiply_adds(model)


@pytest.mark.parametrize(
    "arguments,message",
    [
        ({"kind": "boxes"}, r"`kind`.*'box'.*'boxes'"),
        ({"image_size": 40}, r"`image_size`.*multiple of 16.*40"),
        ({"image_size": 0}, r"`image_size`.*multiple of 16.*0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.pose_net(**arguments)
