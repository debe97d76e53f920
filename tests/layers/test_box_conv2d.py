"""BoxConv2D: Keras's own tests of layers, values against the reference, and Conv2D's shapes."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.src import testing

import tf_boxconv
from tests import reference, tolerances
from tests.backend import BACKEND, dtype_name, layer_gradients, to_float64
from tests.boxes import boxes_anywhere
from tests.images import DATA_FORMATS, image_shape, images
from tests.layers.cases import trainable_parameters
from tf_boxconv.layers import BoxConv2D, DepthwiseBoxConv2D


class BoxConv2DTest(testing.TestCase):
    def test_basic(self):
        for data_format in DATA_FORMATS:
            self.run_layer_test(
                BoxConv2D,
                init_kwargs={
                    "filters": 6,
                    "depth_multiplier": 2,
                    "strides": 2,
                    "data_format": data_format,
                    "normalization": None,
                    "activation": "relu",
                    "boxes_regularizer": "l1",
                    "kernel_regularizer": "l2",
                    "bias_regularizer": "l2",
                    "activity_regularizer": "l2",
                    "kernel_constraint": "max_norm",
                    "bias_constraint": "non_neg",
                },
                input_shape=image_shape(data_format, 5, 7, 4),
                expected_output_shape=image_shape(data_format, 3, 4, 6),
                expected_num_trainable_weights=3,
                expected_num_non_trainable_weights=1,
                expected_num_seed_generators=0,
                expected_num_losses=4,
                supports_masking=False,
            )

    def test_defaults(self):
        self.run_layer_test(
            BoxConv2D,
            init_kwargs={"filters": 6},
            input_shape=(2, 5, 7, 4),
            expected_output_shape=(2, 5, 7, 6),
            expected_num_trainable_weights=3,
            expected_num_non_trainable_weights=1,
            expected_num_losses=0,
            supports_masking=False,
        )


@pytest.mark.parametrize("data_format", DATA_FORMATS)
@pytest.mark.parametrize("strides", [1, (3, 2)])
@pytest.mark.parametrize("normalization", ["area", "valid", None])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_against_the_reference(data_format, strides, normalization, dtype):
    # With strides (3, 2) the output is as wide as there are filters. The bias must still be added
    # to the channels.
    x = images(image_shape(data_format, 9, 11, 5), dtype=dtype)
    boxes = boxes_anywhere(5, 3, reach=9)
    layer = BoxConv2D(
        6,
        depth_multiplier=3,
        strides=strides,
        data_format=data_format,
        normalization=normalization,
        bias_initializer="random_normal",
        dtype=dtype,
    )
    layer.build(x.shape)
    layer.set_boxes(boxes)
    boxes = boxes if dtype == "float64" else boxes.astype(np.float32)
    responses = reference.box_conv2d(x, boxes, strides, normalization, data_format)
    channel = 3 if data_format == "channels_last" else 1
    kernel, bias = to_float64(layer.kernel), to_float64(layer.bias)
    mixed = np.moveaxis(responses, channel, -1) @ kernel + bias
    out = layer(x)
    assert dtype_name(out) == dtype
    got = np.moveaxis(to_float64(out), channel, -1)
    np.testing.assert_allclose(got, mixed, **tolerances.MODELS[dtype])


@pytest.mark.parametrize("data_format", DATA_FORMATS)
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("policy", ["float64", "float32", "mixed_float16", "mixed_bfloat16"])
def test_equals_box_conv2d_and_a_product_with_the_kernel(policy, use_bias, data_format):
    layer = BoxConv2D(
        6,
        depth_multiplier=2,
        strides=(2, 1),
        data_format=data_format,
        activation="relu",
        use_bias=use_bias,
        bias_initializer="random_normal",
        dtype=policy,
    )
    x = images(image_shape(data_format, 9, 11, 5))
    out = layer(x)
    dtype = layer.compute_dtype
    assert dtype_name(out) == dtype
    options = {"strides": (2, 1), "data_format": data_format}
    responses = tf_boxconv.box_conv2d(ops.cast(x, dtype), layer.boxes, **options)
    channel = 3 if data_format == "channels_last" else 1
    mixed = np.moveaxis(to_float64(responses), channel, -1) @ to_float64(layer.kernel)
    if use_bias:
        mixed = mixed + to_float64(layer.bias)
    got = np.moveaxis(to_float64(out), channel, -1)
    np.testing.assert_allclose(got, np.maximum(mixed, 0), **tolerances.MODELS[dtype])


@pytest.mark.parametrize("policy", ["float64", "float32", "mixed_float16", "mixed_bfloat16"])
def test_gradients_equal_those_of_a_depthwise_and_a_dense_layer(policy):
    if BACKEND == "torch" and policy == "float64":
        pytest.skip("Dense computes in float32 for float64 on PyTorch (Keras 3.15)")
    x = images((2, 9, 11, 5))
    layer = BoxConv2D(6, depth_multiplier=2, bias_initializer="random_normal", dtype=policy)
    layer.build(x.shape)
    first = DepthwiseBoxConv2D(2, dtype=policy)
    second = keras.layers.Dense(6, dtype=policy)
    two_layers = keras.Sequential([keras.Input(x.shape[1:], dtype="float32"), first, second])
    first.set_boxes(layer.boxes)
    second.set_weights([to_float64(layer.kernel), to_float64(layer.bias)])

    def loss(out):
        return ops.mean(ops.sin(ops.cast(out, "float64" if policy == "float64" else "float32")))

    found, expected = (layer_gradients(loss, network, x) for network in (layer, two_layers))
    assert len(found) == 4
    for a, e in zip(map(to_float64, found), map(to_float64, expected), strict=True):
        largest = np.max(np.abs(e))
        np.testing.assert_allclose(
            a / largest, e / largest, **tolerances.MODELS[layer.compute_dtype]
        )


def test_a_conv2d_whose_kernel_is_constant_in_space_equals_one_box_per_channel():
    x = images((2, 8, 9, 3))
    weights = images((3, 4), seed=1)
    layer = BoxConv2D(4, depth_multiplier=1, normalization=None, use_bias=False)
    layer.build(x.shape)
    layer.set_boxes(np.tile([-1.5, -2.5, 1.5, 2.5], (3, 1, 1)))
    layer.kernel.assign(weights)
    conv2d = keras.layers.Conv2D(4, (3, 5), padding="same", use_bias=False)
    conv2d.build(x.shape)
    conv2d.kernel.assign(np.tile(weights, (3, 5, 1, 1)))
    got, expected = to_float64(layer(x)), to_float64(conv2d(x))
    np.testing.assert_allclose(got, expected, **tolerances.MODELS["float32"])


@pytest.mark.parametrize("strides", [1, 2, (3, 2)])
@pytest.mark.parametrize("size", [(1, 1), (8, 9), (None, None)])
def test_same_output_shape_as_conv2d(strides, size):
    shape = (None, *size, 3)
    conv2d = keras.layers.Conv2D(7, 3, strides=strides, padding="same")
    layer = BoxConv2D(7, strides=strides)
    assert layer.compute_output_shape(shape) == conv2d.compute_output_shape(shape)


@pytest.mark.parametrize("data_format", DATA_FORMATS)
@pytest.mark.parametrize("empty", [0, 1, 2, 3])
def test_inputs_of_size_zero_give_outputs_of_size_zero(data_format, empty):
    shape = [2, 6, 7, 3]
    shape[empty] = 0
    layer = BoxConv2D(5, data_format=data_format)
    got = layer(np.zeros(shape, np.float32))
    assert got.shape == layer.compute_output_shape(shape)


def test_parameters_do_not_depend_on_the_size_of_the_boxes():
    for max_size in (3, 300):
        layer = BoxConv2D(32, depth_multiplier=4, max_size=max_size)
        layer.build((None, None, None, 16))
        assert trainable_parameters(layer) == 16 * 4 * 4 + 16 * 4 * 32 + 32
