"""Layers with features that only TensorFlow has: graphs, XLA, `tf.data`, SavedModels."""

import keras
import numpy as np
import pytest

import tf_boxconv
from tests import tolerances
from tests.backend import tensorflow_only
from tests.boxes import boxes_anywhere
from tests.images import DATA_FORMATS, image_shape, images
from tests.layers.cases import LAYERS, make
from tf_boxconv import backends
from tf_boxconv.layers import BoxBottleneck, BoxConv2D, DepthwiseBoxConv2D

tf = pytest.importorskip("tensorflow")
pytestmark = [tensorflow_only, pytest.mark.usefixtures("fused_on_all_planes")]

each_layer = pytest.mark.parametrize("name", LAYERS)


def custom_ops(function, *specs):
    """Returns the types of the custom ops in a function's graph."""
    operations = tf.function(function).get_concrete_function(*specs).graph.get_operations()
    return [op.type for op in operations if op.type.startswith("BoxConv>")]


def test_the_portable_operator_uses_no_compiled_op():
    boxes = [[[-1.0, -1.0, 1.0, 1.0]] * 2] * 3
    spec = tf.TensorSpec([None, None, None, 3])
    for implementation, expected in (("native", ["BoxConv>BoxConv2D"]), ("portable", [])):
        found = custom_ops(
            lambda x, i=implementation: tf_boxconv.box_conv2d(x, boxes, implementation=i), spec
        )
        assert found == expected


@each_layer
@pytest.mark.parametrize("data_format", DATA_FORMATS)
def test_portable_layers_use_no_compiled_op(name, data_format):
    spec = tf.TensorSpec(image_shape(data_format))
    compiled = "BoxConv>SeparableBoxConv2D" if name == "box_conv2d" else "BoxConv>BoxConv2D"
    for implementation, expected in (("native", [compiled]), ("portable", [])):
        layer = make(name, data_format=data_format, implementation=implementation)
        layer.build(spec.shape)
        assert custom_ops(layer, spec) == expected


@each_layer
def test_gradients_of_gradients_are_the_same_in_a_graph(name):
    x = tf.constant(images(image_shape("channels_last")))
    layer = make(name)
    layer.build(x.shape)

    def gradients():
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = tf.reduce_sum(tf.sin(layer(x)))
            penalty = y + tf.reduce_sum(inner.gradient(y, x) ** 2)
        return outer.gradient(penalty, [v.value for v in layer.trainable_variables])

    found = gradients()
    assert all(np.any(gradient != 0) for gradient in found)
    for gradient, traced in zip(found, tf.function(gradients)(), strict=True):
        np.testing.assert_allclose(traced, gradient, **tolerances.MODELS["float32"])


@each_layer
@pytest.mark.parametrize("has_xla", [True, False])
def test_keras_compiles_layers_by_xla_only_if_the_ops_support_it(name, has_xla, monkeypatch):
    monkeypatch.setattr(backends.native, "SUPPORTS_JIT", has_xla)
    layer = make(name)
    assert layer.supports_jit == has_xla
    inputs = keras.Input((9, 11, 8))
    model = keras.Model(inputs, layer(inputs))
    # Keras chooses XLA if there is a device other than the CPU.
    device = tf.config.PhysicalDevice(name="/physical_device:GPU:0", device_type="GPU")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda *_: [device])
    model.compile("sgd", "mse")
    assert model.jit_compile is has_xla
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    plain.compile("sgd", "mse")
    assert plain.jit_compile is True  # without box layers, Keras chooses XLA
    if not has_xla:
        with pytest.warns(UserWarning, match="doesn't support `jit_compile=True`"):
            model.compile("sgd", "mse", jit_compile=True)
        assert model.jit_compile is False


@each_layer
def test_portable_layers_compile_with_xla(name):
    x = images(image_shape("channels_last"))
    layer = make(name, implementation="portable")
    expected = layer(x)
    assert layer.supports_jit
    got = tf.function(layer, jit_compile=True)(tf.constant(x))
    np.testing.assert_allclose(got, expected, **tolerances.MODELS["float32"])


def test_fit_moves_boxes_alike_with_a_dataset_and_with_arrays():
    x, y = images((8, 12, 12, 3)), images((8, 12, 12, 6), seed=1)
    boxes = []
    for arguments in (
        {"x": tf.data.Dataset.from_tensors((x, y)).repeat(5)},
        {"x": x, "y": y, "epochs": 5},
    ):
        layer = DepthwiseBoxConv2D(2)
        model = keras.Sequential([keras.Input(x.shape[1:]), layer])
        layer.set_boxes(boxes_anywhere(3, 2, reach=9))
        model.compile(keras.optimizers.Adam(0.03), "mse")
        model.fit(**arguments, verbose=0)
        boxes.append(layer.boxes)
    assert np.max(np.abs(boxes[0] - boxes_anywhere(3, 2, reach=9))) > 0.5
    np.testing.assert_allclose(boxes[0], boxes[1], atol=1e-3)


def test_keras_export_to_a_saved_model(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((None, None, 8)),
            BoxBottleneck(max_size=10),
            BoxConv2D(4, max_size=10),
            DepthwiseBoxConv2D(2, max_size=10),
        ]
    )
    model.export(tmp_path / "exported", verbose=False)
    served = tf.saved_model.load(tmp_path / "exported")
    for shape in ((2, 9, 11, 8), (1, 20, 3, 8)):
        x = images(shape)
        np.testing.assert_allclose(served.serve(x), model(x), **tolerances.VALUES["float32"])
