"""Exports in each format, run in their own runtimes, give the outputs of the Keras model."""

import keras
import numpy as np
import pytest

import tf_boxconv
from benchmarks.export_runtimes import RUNTIMES, LiteRT
from tests import tolerances
from tests.exporting.models import SIZE, images, model, relative_error
from tests.exporting.runtimes import exported, skip_unless_installed
from tests.images import images as random_images
from tf_boxconv.exporting import FORMATS
from tf_boxconv.layers import BoxConv2D, DepthwiseBoxConv2D

every_format = pytest.mark.parametrize("format", RUNTIMES)


def test_every_format_has_a_runtime_here():
    assert set(RUNTIMES) == set(FORMATS)


@every_format
def test_equals_keras_at_any_batch_size(format, tmp_path):
    built = model()
    run = exported(built, tmp_path, format)
    for batch in (1, 3):
        x = images(batch)
        assert relative_error(run(x), built(x)) < tolerances.EXPORT["float32"]


@every_format
def test_dynamic_size(format, tmp_path):
    built = model(size=(None, None))
    run = exported(built, tmp_path, format)
    for size in ((20, 26), (9, 33)):
        x = images(2, size)
        assert relative_error(run(x), built(x)) < tolerances.EXPORT["float32"]


@every_format
def test_awkward_boxes(format, tmp_path):
    """Boxes are empty, inverted, tiny, outside or on borders, with each normalization."""
    inputs = keras.Input((7, 9, 2), name="image")
    layers = [
        DepthwiseBoxConv2D(4, strides=(2, 3), normalization=normalization, max_size=9)
        for normalization in ("area", "valid", None)
    ]
    built = keras.Model(inputs, keras.layers.Concatenate()([layer(inputs) for layer in layers]))
    for layer in layers:
        layer.set_boxes(
            [
                [[1, 1, 1, 2], [2, -1, -2, 1], [-0.1, -0.2, 0.1, 0.3], [-40, -40, 40, 40]],
                [[20, 20, 25, 25], [-1.5, -0.5, 1.5, 0.5], [-3, 2.5, 0.25, 9], [0, 0, 1, 1]],
            ]
        )
    x = random_images((2, 7, 9, 2))
    found = np.split(exported(built, tmp_path, format)(x), len(layers), axis=-1)
    for actual, layer in zip(found, layers, strict=True):
        assert relative_error(actual, layer(x)) < tolerances.EXPORT["float32"]


@pytest.mark.parametrize("quantize", ["int8", "uint8"])
def test_quantized_litert_is_close_to_keras(quantize, tmp_path):
    data = iter([images(20, seed=5), images(12, seed=6)])  # an iterator, which is read once
    built = model()
    run = exported(built, tmp_path, "litert", quantize=quantize, representative_data=data)
    assert isinstance(run, LiteRT)
    for detail in (*run.interpreter.get_input_details(), *run.interpreter.get_output_details()):
        assert detail["dtype"] == np.dtype(quantize)
    x = images(2)
    actual, expected = run(x), built(x).numpy()
    assert np.float32 not in {d["dtype"] for d in run.interpreter.get_tensor_details()}
    assert np.corrcoef(actual.ravel(), expected.ravel())[0, 1] > 0.98


@pytest.mark.parametrize(
    ("quantize", "dtype", "tolerance"),
    [("float16", np.float16, 2e-2), ("dynamic_range", np.int8, 5e-2)],
)
def test_litert_with_smaller_weights(quantize, dtype, tolerance, tmp_path):
    """The converter quantizes weights of 1024 numbers or more. Edges of boxes become float16."""
    layers = [keras.layers.Conv2D(64, 3), BoxConv2D(64, max_size=SIZE, activation="relu")]
    built = keras.Sequential([keras.Input((None, None, 3), name="image"), *layers])
    run = exported(built, tmp_path, "litert", quantize=quantize)
    assert dtype in {d["dtype"] for d in run.interpreter.get_tensor_details()}
    x = images(2, (9, 33))
    assert relative_error(run(x), built(x)) < tolerance


def test_a_single_layer_in_integers(tmp_path):
    """The numbers beside the layer are not rounded; its input may have any size."""
    inputs = keras.Input((None, None, 3), name="image")
    layers = [BoxConv2D(8, max_size=SIZE, activation="relu"), keras.layers.Conv2D(4, 3)]
    network = keras.Sequential([keras.Input((None, None, 3)), *layers], name="network")
    mean = keras.layers.GlobalAveragePooling2D()
    outputs = keras.layers.Concatenate()([mean(network(inputs)), 1000 * mean(inputs)])
    built = keras.Model(inputs, outputs)
    options = {"quantize": "int8", "representative_data": [images(20, seed=5), images(5, (9, 33))]}
    run = exported(built, tmp_path, "litert", quantize_only="network", **options)
    assert {run.interpreter.get_input_details()[0]["dtype"], run(images()).dtype.type} == {
        np.float32
    }
    assert np.int8 in {d["dtype"] for d in run.interpreter.get_tensor_details()}
    for size in ((20, 26), (9, 33)):
        x = images(2, size)
        actual, expected = run(x), built(x).numpy()
        np.testing.assert_allclose(actual[:, 4:], expected[:, 4:], rtol=1e-5)
        assert 0 < np.abs(actual - expected)[:, :4].max() < 5e-2 * np.abs(expected[:, :4]).max()


@pytest.mark.parametrize("name", ["box", "box_1"])
def test_only_the_layer_of_this_name_is_in_integers(name, tmp_path):
    """TensorFlow appends numbers to the names of layers, so one may look like another."""
    layers = [BoxConv2D(8, name="box"), BoxConv2D(8, name="box_1")]
    built = keras.Sequential([keras.Input((16, 16, 3), name="image"), *layers])
    data = [images(20, (16, 16), seed=5)]
    path = tmp_path / "model.tflite"
    options = {"quantize": "int8", "representative_data": data, "quantize_only": name}
    tf_boxconv.export(built, path, "litert", **options)
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    details = litert.Interpreter(str(path)).get_tensor_details()
    # The mixing weights, [filters, channels x 4 boxes].
    dtype_of = {tuple(d["shape"].tolist()): d["dtype"] for d in details}
    dtypes = {"box": dtype_of[8, 12], "box_1": dtype_of[8, 32]}
    assert dtypes == {key: np.int8 if key == name else np.float32 for key in dtypes}


@pytest.mark.parametrize("by_name", [False, True])
def test_calibration_of_several_inputs(by_name, tmp_path):
    """The order of the model's inputs is not alphabetical, unlike that of the LiteRT file."""
    first, second = keras.Input((8, 8, 1), name="zeta"), keras.Input((8, 8, 1), name="alpha")
    filtered = [tf_boxconv.layers.DepthwiseBoxConv2D(1)(x) for x in (first, second)]
    built = keras.Model([first, second], keras.layers.Concatenate()(filtered))
    rng = np.random.default_rng(0)
    large, small = (rng.uniform(0, high, (8, 8, 8, 1)).astype(np.float32) for high in (100, 1))
    data = [{"zeta": large, "alpha": small} if by_name else [large, small]]
    path = tmp_path / "model.tflite"
    tf_boxconv.export(built, path, "litert", quantize="int8", representative_data=data)
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    details = litert.Interpreter(str(path)).get_input_details()
    scales = {}
    for name in ("zeta", "alpha"):
        (scales[name],) = (d["quantization"][0] for d in details if name in d["name"])
    assert scales["zeta"] == pytest.approx(100 / 255, rel=0.1)
    assert scales["alpha"] == pytest.approx(1 / 255, rel=0.1)


def test_onnx_needs_different_names_of_inputs_and_outputs(tmp_path):
    skip_unless_installed("onnx")
    inputs = keras.Input((8, 8, 1), name="image")
    built = keras.Model({"image": inputs}, {"image": DepthwiseBoxConv2D(1)(inputs)})
    with pytest.raises(ValueError, match="an input and an output called image"):
        tf_boxconv.export(built, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [(6, 7), (None, None)], ids=["fixed", "open"])
@pytest.mark.parametrize("activation", ["gelu", "celu"])
def test_onnx_has_the_activations_that_tf2onnx_lacks(activation, size, tmp_path):
    inputs = keras.Input((*size, 2), name="image")
    first = BoxConv2D(4, max_size=7, activation=activation)(inputs)
    outputs = keras.layers.Activation(activation)(3 * first)
    built = keras.Model(inputs, outputs)
    x = 5 * random_images((3, 6, 7, 2))
    assert (
        relative_error(exported(built, tmp_path, "onnx")(x), built(x))
        < (tolerances.EXPORT["float32"])
    )


@pytest.mark.parametrize("size", [(6, 7), (None, None)], ids=["fixed", "open"])
def test_onnx_names_the_batch_axis(size, tmp_path):
    built = keras.Sequential([keras.Input((*size, 2), name="image"), BoxConv2D(4, max_size=7)])
    skip_unless_installed("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    tf_boxconv.export(built, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    (taken,), (returned,) = session.get_inputs(), session.get_outputs()
    assert taken.shape == ["batch", *size, 2] and returned.shape == [None, *size, 4]


def test_onnx_has_conditions_on_inputs(tmp_path):
    image = keras.Input((8, 8, 2), name="image")

    class Condition(keras.layers.Layer):
        def call(self, x):
            return keras.ops.cond(keras.ops.sum(x) > 0, lambda: x * 2.0, lambda: x + 1.0)

    built = keras.Model(image, BoxConv2D(3)(Condition()(image)))
    run = exported(built, tmp_path, "onnx")
    for sign in (1, -1):
        x = sign * np.abs(random_images((2, 8, 8, 2)))
        assert relative_error(run(x), built(x)) < tolerances.EXPORT["float32"]


def test_onnx_has_recurrent_layers(tmp_path):
    image = keras.Input((8, 6, 2), name="image")
    x = keras.layers.Reshape((8, -1))(BoxConv2D(3)(image))
    built = keras.Model(image, keras.layers.LSTM(4)(x))
    x = random_images((2, 8, 6, 2))
    assert relative_error(exported(built, tmp_path, "onnx")(x), built(x)) < 1e-5


def test_integral_images_can_be_exported(tmp_path):
    class Table(keras.layers.Layer):
        def call(self, x):
            return tf_boxconv.integral_image(x)

    inputs = keras.Input((6, 7, 2), name="image")
    built = keras.Model(inputs, Table()(inputs))
    run = exported(built, tmp_path, "saved_model_portable")
    x = random_images((3, 6, 7, 2))
    np.testing.assert_allclose(run(x), built(x), **tolerances.VALUES["float32"])
