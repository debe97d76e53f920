"""BoxBottleneck: Keras's own tests of layers, and the block that its docstring describes."""

import keras
import numpy as np
import pytest
from keras.src import testing

from tests import reference, tolerances
from tests.backend import to_float64
from tests.boxes import boxes_anywhere
from tests.images import DATA_FORMATS, image_shape, images
from tests.layers.cases import trainable_parameters
from tf_boxconv.layers import BoxBottleneck


class BoxBottleneckTest(testing.TestCase):
    def test_basic(self):
        for data_format in DATA_FORMATS:
            self.run_layer_test(
                BoxBottleneck,
                init_kwargs={
                    "depth_multiplier": 2,
                    "data_format": data_format,
                    "normalization": "valid",
                    "activation": "elu",
                    "rate": 0.25,
                    "momentum": 0.9,
                    "epsilon": 1e-4,
                    "boxes_regularizer": "l1",
                    "kernel_regularizer": "l2",
                    "kernel_constraint": "non_neg",
                },
                input_shape=image_shape(data_format, 5, 7, 8),
                expected_output_shape=image_shape(data_format, 5, 7, 8),
                expected_num_trainable_weights=6,
                expected_num_non_trainable_weights=5,
                expected_num_seed_generators=1,
                expected_num_losses=2,
                supports_masking=False,
            )

    def test_defaults(self):
        self.run_layer_test(
            BoxBottleneck,
            init_kwargs={},
            input_shape=(2, 5, 7, 8),
            expected_output_shape=(2, 5, 7, 8),
            expected_num_trainable_weights=6,
            expected_num_non_trainable_weights=5,
            expected_num_losses=0,
            supports_masking=False,
        )


@pytest.mark.parametrize("data_format", DATA_FORMATS)
@pytest.mark.parametrize("training", [False, True])
def test_against_the_reference(data_format, training):
    x = images(image_shape(data_format))
    layer = BoxBottleneck(4, data_format=data_format, epsilon=1e-3)
    layer.build(x.shape)
    layer.box_conv.set_boxes(boxes_anywhere(2, 4, reach=9))
    rng = np.random.default_rng(3)
    for norm in (layer.reduce_norm, layer.box_norm):
        norm.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in norm.weights])

    def batch_norm(values, norm):
        gamma, beta, mean, variance = norm.get_weights()
        if training:
            mean, variance = values.mean((0, 1, 2)), values.var((0, 1, 2))
        return (values - mean) / np.sqrt(variance + 1e-3) * gamma + beta

    channel = 3 if data_format == "channels_last" else 1
    inputs = np.moveaxis(x, channel, -1).astype(np.float64)
    reduced = np.maximum(batch_norm(inputs @ to_float64(layer.kernel), layer.reduce_norm), 0)
    responses = reference.box_conv2d(reduced, to_float64(layer.boxes))
    wanted = np.maximum(inputs + batch_norm(responses, layer.box_norm), 0)
    got = np.moveaxis(to_float64(layer(x, training=training)), channel, -1)
    np.testing.assert_allclose(got, wanted, **tolerances.MODELS["float32"])


def test_dropout_acts_on_the_boxes_in_training_only():
    x = images((2, 9, 9, 8))
    layer = BoxBottleneck(rate=0.5, activation=None)
    layer.build(x.shape)
    context = to_float64(layer(x, training=True)) - x
    assert 0.4 < np.mean(context == 0) < 0.6
    context = to_float64(layer(x, training=False)) - x
    assert np.mean(context == 0) < 0.01


def test_parameter_count():
    layer = BoxBottleneck(4)
    layer.build((None, 9, 9, 64))
    # 1x1 weights, boxes, and a scale and an offset for each normalized channel
    assert trainable_parameters(layer) == 64 * 16 + 16 * 4 * 4 + 2 * 16 + 2 * 64


def test_a_number_of_channels_that_depth_multiplier_does_not_divide_is_refused():
    with pytest.raises(ValueError, match=r"divisible by `depth_multiplier`.*=4.*6 channels"):
        BoxBottleneck(4).build((None, 9, 9, 6))


def test_a_frozen_block_stays_frozen_when_loaded_or_cloned(tmp_path):
    inputs = keras.Input((6, 6, 4))
    model = keras.Model(inputs, BoxBottleneck(2, name="block")(inputs))
    model.get_layer("block").trainable = False
    model.save(tmp_path / "frozen.keras")
    x = images((3, 6, 6, 4))
    for frozen in (
        keras.models.load_model(tmp_path / "frozen.keras"),
        keras.models.clone_model(model),
    ):
        block = frozen.get_layer("block")
        assert not block.trainable_weights and not block.reduce_norm.trainable
        before = [np.array(to_float64(w.value)) for w in block.non_trainable_weights]
        frozen(x, training=True)
        for old, weight in zip(before, block.non_trainable_weights, strict=True):
            np.testing.assert_array_equal(to_float64(weight.value), old)
    block.trainable = True
    assert len(block.trainable_weights) == 6


def test_a_dtype_policy_set_before_the_block_is_built():
    layer = BoxBottleneck(2)
    layer.dtype_policy = "mixed_bfloat16"
    outputs = layer(images((2, 6, 6, 4)))
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
