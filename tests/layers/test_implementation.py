"""`implementation="portable"`: the same layers, and the operator, by stock ops."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_boxconv
from tests.layers.cases import DATA_FORMATS, LAYERS, image_shape, images, make
from tests.ops.problems import random_problem

everywhere = pytest.mark.parametrize("name", LAYERS)


def box_ops(function, *specs):
    """The compiled box ops in a function's graph."""
    operations = tf.function(function).get_concrete_function(*specs).graph.get_operations()
    return [op.type for op in operations if op.type.startswith("BoxConv>")]


@pytest.mark.parametrize("seed", range(20))
def test_operator(seed):
    problem = random_problem(seed, "float64")
    native, portable = (
        tf_boxconv.box_conv2d(
            problem.x, problem.boxes, **problem.options, implementation=implementation
        )
        for implementation in ("native", "portable")
    )
    assert native.shape == portable.shape and native.dtype == portable.dtype
    np.testing.assert_allclose(portable, native, rtol=1e-9, atol=1e-9)


def test_operator_runs_stock_ops():
    boxes = [[[-1.0, -1.0, 1.0, 1.0]] * 2] * 3
    spec = tf.TensorSpec([None, None, None, 3])
    for implementation, ops in (("native", ["BoxConv>BoxConv2D"]), ("portable", [])):
        found = box_ops(
            lambda x, i=implementation: tf_boxconv.box_conv2d(x, boxes, implementation=i), spec
        )
        assert found == ops


@pytest.mark.parametrize("shape", [(0, 5, 6, 3), (2, 0, 6, 3), (2, 5, 6, 0), (2, 1, 1, 3)])
def test_operator_on_sizes_of_zero(shape):
    boxes = np.zeros((shape[-1], 2, 4), np.float32) + [-1, -1, 1, 1]
    x = np.ones(shape, np.float32)
    native, portable = (
        tf_boxconv.box_conv2d(x, boxes, strides=2, implementation=implementation)
        for implementation in ("native", "portable")
    )
    assert portable.shape == native.shape
    np.testing.assert_allclose(portable, native, atol=1e-6)


@everywhere
@pytest.mark.parametrize("data_format", DATA_FORMATS)
def test_layers_equal_the_native_ones(name, data_format):
    x = images(image_shape(data_format))
    native = make(name, data_format=data_format)
    native.build(x.shape)
    portable = make(name, data_format=data_format, implementation="portable")
    portable.build(x.shape)
    portable.set_weights(native.get_weights())
    np.testing.assert_allclose(portable(x), native(x), rtol=1e-5, atol=1e-5)
    assert box_ops(native, tf.TensorSpec(x.shape)) and not box_ops(portable, tf.TensorSpec(x.shape))


@everywhere
def test_gradients_equal_the_native_ones(name):
    x = tf.constant(images(image_shape("channels_last")))
    gradients = []
    for implementation in ("native", "portable"):
        keras.utils.set_random_seed(0)
        layer = make(name, implementation=implementation)
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.sin(layer(x)))
        gradients.append(tape.gradient(loss, [x, *layer.trainable_variables]))
    for native, portable in zip(*gradients, strict=True):
        np.testing.assert_allclose(portable, native, rtol=1e-3, atol=1e-4)


@everywhere
def test_configuration(name):
    layer = make(name, implementation="portable")
    again = type(layer).from_config(layer.get_config())
    assert again.get_config()["implementation"] == "portable"
    config = layer.get_config()
    del config["implementation"]  # As files have it that were written before there was a choice.
    assert type(layer).from_config(config).get_config()["implementation"] == "native"


@everywhere
def test_portable_layers_compile_with_xla(name):
    x = images(image_shape("channels_last"))
    layer = make(name, implementation="portable")
    expected = layer(x)
    assert layer.supports_jit
    np.testing.assert_allclose(
        tf.function(layer, jit_compile=True)(tf.constant(x)), expected, rtol=1e-4, atol=1e-5
    )


def test_bad_value():
    message = r'`implementation` must be "native".*Received: implementation=\'fast\''
    with pytest.raises(ValueError, match=message):
        tf_boxconv.layers.BoxBottleneck(implementation="fast")
    with pytest.raises(ValueError, match=message):
        tf_boxconv.box_conv2d(np.zeros((1, 2, 2, 1)), [[[0, 0, 1, 1]]], implementation="fast")
