"""`implementation="portable"` gives the results of the compiled operator."""

import numpy as np
import pytest
from keras import ops

import tf_boxconv
from tests import tolerances
from tests.backend import layer_gradients, to_float64
from tests.images import DATA_FORMATS, image_shape, images
from tests.layers.cases import LAYERS, make
from tests.ops.problems import random_problem
from tests.seeds import seed_weights
from tf_boxconv import backends

each_layer = pytest.mark.parametrize("name", LAYERS)


@pytest.fixture
def native_calls(monkeypatch):
    """A list that grows with each call of a compiled operator."""
    calls = []

    def counted(operator):
        def count_and_call(*arguments):
            calls.append(arguments)
            return operator(*arguments)

        return count_and_call

    for name in ("box_conv2d", "separable_box_conv2d"):
        monkeypatch.setattr(backends.native, name, counted(getattr(backends.native, name)))
    return calls


@pytest.mark.parametrize("seed", range(20))
def test_the_portable_operator_equals_the_native_one(seed):
    problem = random_problem(seed, "float64")
    native, portable = (
        tf_boxconv.box_conv2d(
            problem.x, problem.boxes, **problem.options, implementation=implementation
        )
        for implementation in ("native", "portable")
    )
    assert native.shape == portable.shape and native.dtype == portable.dtype
    np.testing.assert_allclose(
        to_float64(portable), to_float64(native), **tolerances.DERIVATIVES["float64"]
    )


def test_the_operator_runs_the_chosen_implementation(native_calls):
    boxes = [[[-1.0, -1.0, 1.0, 1.0]] * 2] * 3
    for implementation, calls in (("portable", 0), ("native", 1)):
        tf_boxconv.box_conv2d(np.ones((1, 4, 5, 3)), boxes, implementation=implementation)
        assert len(native_calls) == calls


@pytest.mark.parametrize("shape", [(0, 5, 6, 3), (2, 0, 6, 3), (2, 5, 6, 0), (2, 1, 1, 3)])
def test_the_portable_operator_accepts_sizes_of_zero(shape):
    boxes = np.zeros((shape[-1], 2, 4), np.float32) + [-1, -1, 1, 1]
    x = np.ones(shape, np.float32)
    native, portable = (
        tf_boxconv.box_conv2d(x, boxes, strides=2, implementation=implementation)
        for implementation in ("native", "portable")
    )
    assert portable.shape == native.shape
    np.testing.assert_allclose(
        to_float64(portable), to_float64(native), **tolerances.VALUES["float32"]
    )


@each_layer
@pytest.mark.parametrize("data_format", DATA_FORMATS)
def test_portable_layers_equal_native_ones(name, data_format, native_calls):
    x = images(image_shape(data_format))
    native = make(name, data_format=data_format)
    native.build(x.shape)
    portable = make(name, data_format=data_format, implementation="portable")
    portable.build(x.shape)
    portable.set_weights(native.get_weights())
    got = to_float64(portable(x))
    assert not native_calls
    np.testing.assert_allclose(got, to_float64(native(x)), **tolerances.VALUES["float32"])
    assert native_calls


@each_layer
def test_gradients_of_portable_layers_equal_those_of_native_ones(name):
    x = images(image_shape("channels_last"))
    gradients = []
    for implementation in ("native", "portable"):
        seed_weights(0)
        layer = make(name, implementation=implementation)
        layer.build(x.shape)
        gradients.append(layer_gradients(lambda y: ops.sum(ops.sin(y)), layer, x))
    for native, portable in zip(*gradients, strict=True):
        assert np.any(to_float64(native) != 0)
        actual, expected = to_float64(portable), to_float64(native)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(actual / scale, expected / scale, **tolerances.MODELS["float32"])


@each_layer
def test_configurations_keep_the_implementation(name):
    layer = make(name, implementation="portable")
    again = type(layer).from_config(layer.get_config())
    assert again.get_config()["implementation"] == "portable"
    config = layer.get_config()
    del config["implementation"]  # as in files of earlier versions
    assert type(layer).from_config(config).get_config()["implementation"] == "native"


@each_layer
@pytest.mark.parametrize("compiles", [True, False])
def test_layers_support_jit_if_their_operator_does(name, compiles, monkeypatch):
    monkeypatch.setattr(backends.native, "SUPPORTS_JIT", compiles)
    assert make(name).supports_jit is compiles
    assert make(name, implementation="portable").supports_jit is True


def test_other_implementations_are_refused():
    message = r'`implementation` must be "native".*Received: implementation=\'fast\''
    with pytest.raises(ValueError, match=message):
        tf_boxconv.layers.BoxBottleneck(implementation="fast")
    with pytest.raises(ValueError, match=message):
        tf_boxconv.box_conv2d(np.zeros((1, 2, 2, 1)), [[[0, 0, 1, 1]]], implementation="fast")
