"""Every format against Keras, each in its own runtime."""

import keras
import numpy as np
import pytest

import tf_boxconv
from tests.exporting.models import images, model, relative_error
from tests.exporting.runtimes import RUNTIMES, SUFFIX, require_converter
from tf_boxconv.exporting import FORMATS
from tf_boxconv.layers import DepthwiseBoxConv2D

TOLERANCE = 1e-5
everywhere = pytest.mark.parametrize("format", RUNTIMES)


def exported(built, folder, format, **options):
    require_converter(format)
    path = folder / f"model{SUFFIX.get(format, '')}"
    tf_boxconv.export(built, path, format, **options)
    assert [entry.name for entry in folder.iterdir()] == [path.name]
    return RUNTIMES[format](path)


def test_every_format_has_a_runtime_here():
    assert set(RUNTIMES) == set(FORMATS)


@everywhere
def test_equals_keras_at_any_batch_size(format, tmp_path):
    built = model()
    run = exported(built, tmp_path, format)
    for batch in (1, 3):
        x = images(batch)
        assert relative_error(run(x), built(x)) < TOLERANCE


@everywhere
def test_dynamic_size(format, tmp_path):
    built = model(size=(None, None))
    run = exported(built, tmp_path, format)
    for size in ((20, 26), (9, 33)):
        x = images(2, size)
        assert relative_error(run(x), built(x)) < TOLERANCE


@everywhere
@pytest.mark.parametrize("normalization", ["area", "valid", None])
def test_awkward_boxes(format, normalization, tmp_path):
    """Empty, inverted, sub-pixel, beyond the plane, on borders."""
    inputs = keras.Input((7, 9, 2), name="image")
    layer = DepthwiseBoxConv2D(4, strides=(2, 3), normalization=normalization, max_size=9)
    built = keras.Model(inputs, layer(inputs))
    layer.set_boxes(
        [
            [[1, 1, 1, 2], [2, -1, -2, 1], [-0.1, -0.2, 0.1, 0.3], [-40, -40, 40, 40]],
            [[20, 20, 25, 25], [-1.5, -0.5, 1.5, 0.5], [-3, 2.5, 0.25, 9], [0, 0, 1, 1]],
        ]
    )
    run = exported(built, tmp_path, format)
    x = images(2, (7, 9))[..., :2]
    assert relative_error(run(np.ascontiguousarray(x)), built(x)) < TOLERANCE


@pytest.mark.parametrize("quantize", ["int8", "uint8"])
def test_quantized_litert(quantize, tmp_path):
    pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is missing")
    from ai_edge_litert.interpreter import Interpreter

    built, path = model(), tmp_path / "model.tflite"
    tf_boxconv.export(
        built, path, "litert", quantize=quantize, representative_data=[images(32, seed=5)]
    )
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    (entry,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert entry["dtype"] == answer["dtype"] == np.dtype(quantize)
    types = {detail["dtype"] for detail in interpreter.get_tensor_details()}
    assert np.float32 not in types
    scale, zero = entry["quantization"]
    x = images(1)
    limits = np.iinfo(quantize)
    quantized = np.clip(np.round(x / scale) + zero, limits.min, limits.max).astype(quantize)
    interpreter.set_tensor(entry["index"], quantized)
    interpreter.invoke()
    scale, zero = answer["quantization"]
    actual = (interpreter.get_tensor(answer["index"]).astype(np.float32) - zero) * scale
    expected = built(x).numpy()
    assert np.corrcoef(actual.ravel(), expected.ravel())[0, 1] > 0.98
