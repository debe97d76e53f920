"""Arguments that `export` refuses, with errors that help. A refused export leaves no files."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import tf_boxconv
from tests.exporting.models import images, model
from tf_boxconv.exporting import saved_model
from tf_boxconv.exporting.errors import require_modules
from tf_boxconv.exporting.signature import require_flat_outputs
from tf_boxconv.layers import DepthwiseBoxConv2D


@pytest.fixture(scope="module")
def built():
    return model()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"format": "coreml"}, r"`format` must be one of .*\"tfjs\".*'coreml'"),
        ({"format": "tflite"}, r'`format` must be one of .*; "tflite" is called "litert" here'),
        ({"format": "tf_saved_model"}, r'"tf_saved_model" is called "saved_model" here'),
        ({"format": "tensorflowjs"}, r'"tensorflowjs" is called "tfjs" here'),
        ({"format": "litert"}, r"`path` must end in '\.tflite'.*x'"),
        ({"quantize": "int4"}, r"`quantize` must be .*'int4'"),
        ({"format": "onnx", "quantize": "int8"}, r"`quantize` is for .*'onnx'"),
        ({"format": "litert", "quantize": "int8"}, r"`representative_data` must be given"),
        ({"representative_data": [images()]}, r"`representative_data` is for quantize="),
        (
            {"format": "litert", "quantize": "float16", "representative_data": [images()]},
            r"`representative_data` is for quantize=.*'float16'",
        ),
        ({"quantize_only": "block"}, r'`quantize_only` is for quantize="int8" only.*=None'),
        (
            {
                "format": "litert",
                "quantize": "int8",
                "representative_data": [images()],
                "quantize_only": "net",
            },
            r"`quantize_only` must be the name of a layer.*'net', .*heatmaps",
        ),
        ({"input_shape": (None, 20, 27, 3)}, r"`input_shape` must fit.*27"),
        (
            {"input_shape": (20, 26, 3)},
            r"needs the batch axis: \(None, 20, 26, 3\)\. Received",
        ),
        ({"input_shape": (None, 26, 3)}, r"`input_shape` must fit the model"),
        ({"input_shape": (None, None, 26, 3)}, r"`input_shape` must fit the model"),
        ({"input_shape": 20}, r"`input_shape` must be a sequence.*Received: input_shape=20"),
        ({"input_shape": (None, -20, 26, 3)}, r"`input_shape` must be a sequence of positive"),
        ({"input_shape": (None, 20.0, 26, 3)}, r"`input_shape` must be a sequence of positive"),
        ({"input_shape": "none"}, r"`input_shape` must be a sequence.*'none'"),
        ({"format": ["onnx"]}, r"`format` must be one of"),
        ({"quantize": ["int8"]}, r"`quantize` must be"),
        ({"representative_data": 3}, r"`representative_data` must be an iterable.*=3"),
        ({"representative_data": images}, r"`representative_data` must .*call the function"),
    ],
)
def test_bad_arguments_are_refused(built, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        tf_boxconv.export(built, tmp_path / "x", **arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "format", "message"),
    [
        ("net.onnx", "litert", r"`path` must end in '\.tflite'"),
        ("net.tflite", "onnx", r"`path` must end in '\.onnx'"),
        (
            "net.onnx",
            "saved_model",
            r"ends like a file of format=\"onnx\".*\"saved_model\" writes a f",
        ),
        ("net.ONNX", "tfjs", r"ends like a file of format=\"onnx\""),
        ("net.tflite", "openvino", r"ends like a file of format=\"litert\""),
        *(
            (f"net{suffix}", format, "`path` ends in the suffix of another kind of file")
            for suffix in (".keras", ".h5", ".weights.h5", ".pb", ".xml", ".json", ".pt2")
            for format in (None, "saved_model", "openvino")
        ),
    ],
)
def test_a_suffix_that_contradicts_the_format_is_refused(built, tmp_path, name, format, message):
    with pytest.raises(ValueError, match=message):
        tf_boxconv.export(built, tmp_path / name, format)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "begins"),
    [("net.onnx", b"\x08"), ("net.TFLITE", b"\x1c\0\0\0TFL3"), ("v1.2", None), ("pose/1", None)],
)
def test_the_suffix_decides_the_format(built, tmp_path, name, begins):
    path = tmp_path / name
    if name.endswith("onnx"):
        pytest.importorskip("tf2onnx")
    tf_boxconv.export(built, path)
    if begins is None:
        assert (path / "saved_model.pb").is_file()
    else:
        assert path.read_bytes().startswith(begins)


@pytest.mark.parametrize("path", [None, 3, b"net.onnx"])
def test_other_types_of_path_are_refused(built, path):
    with pytest.raises(TypeError, match=r"`path` must be a str or an os.PathLike"):
        tf_boxconv.export(built, path)


def test_other_types_of_model_are_refused(tmp_path):
    with pytest.raises(TypeError, match=r"`model` must be a keras\.Model.*'a'"):
        tf_boxconv.export("a", tmp_path / "x")


def test_a_model_that_is_not_built_is_refused(tmp_path):
    unbuilt = keras.Sequential([tf_boxconv.layers.BoxConv2D(4)])
    with pytest.raises(ValueError, match="`model` must be built"):
        tf_boxconv.export(unbuilt, tmp_path / "x")


def test_an_existing_path_is_refused_without_overwrite(built, tmp_path):
    path = tmp_path / "exported"
    path.mkdir()
    tf_boxconv.export(built, path)  # an empty folder is replaced
    with pytest.raises(FileExistsError, match="`path` exists; overwrite=True"):
        tf_boxconv.export(built, path)
    (tmp_path / "file.tflite").mkdir()
    with pytest.raises(FileExistsError, match="is a folder and this format writes a file"):
        tf_boxconv.export(built, tmp_path / "file.tflite", "litert", overwrite=True)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["exported", "file.tflite"]


def test_a_failed_export_leaves_the_earlier_one(built, tmp_path, monkeypatch):
    path = tmp_path / "exported"
    tf_boxconv.export(built, path)
    before = (path / "saved_model.pb").read_bytes()

    def fail(model, folder, signature):
        folder.mkdir()
        (folder / "half").touch()
        raise OSError("disk full")

    monkeypatch.setattr(saved_model, "write_native", fail)
    with pytest.raises(OSError, match="disk full"):
        tf_boxconv.export(built, path, overwrite=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["exported"]
    assert (path / "saved_model.pb").read_bytes() == before


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_the_error_about_a_missing_converter_says_what_to_install(
    built, tmp_path, monkeypatch, format
):
    for name in ("onnx", "tf2onnx", "openvino"):
        monkeypatch.setitem(sys.modules, name, None)
    path = tmp_path / ("x.onnx" if format == "onnx" else "x")
    with pytest.raises(
        ImportError, match=f'format="{format}" needs modules .*pip install .*"{format}>='
    ):
        tf_boxconv.export(built, path, format)
    assert not list(tmp_path.iterdir())


def test_one_error_names_all_missing_modules():
    with pytest.raises(
        ImportError, match="this needs modules that are not installed: no_such_a, no_such_b"
    ):
        require_modules(["json", "no_such_a", "no_such_b"], "this")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "at least one example. Received: none"),
        (
            [np.zeros((2, 20, 26, 4), np.float32)],
            r"must hold arrays of shape \(None, 20, 26, 3\)",
        ),
        ([[images(), images()]], r"`representative_data` must hold 1 array.*Received: 2"),
        (images(), r"must hold arrays of shape .* an array of shape \(20, 26, 3\)"),
        ([images() * np.nan], r"`representative_data` must be finite"),
        (["a.jpg"], r"`representative_data` must hold arrays for input 'image'.*type str"),
        ([3.0], r"must hold arrays of shape"),
    ],
)
def test_bad_representative_data_is_refused(built, tmp_path, data, message):
    with pytest.raises(ValueError, match=message):
        tf_boxconv.export(
            built, tmp_path / "x.tflite", "litert", quantize="int8", representative_data=data
        )
    assert not list(tmp_path.iterdir())


def test_quantization_needs_a_fixed_size(tmp_path):
    with pytest.raises(ValueError, match="`quantize` needs an input of fixed size"):
        tf_boxconv.export(
            model(size=(None, None)),
            tmp_path / "x.tflite",
            "litert",
            quantize="int8",
            representative_data=[images()],
        )


@pytest.mark.parametrize("path", ["gs://bucket/model", "s3://b/net.onnx", "file:///tmp/net.tflite"])
def test_urls_are_refused(built, tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"`path` must be on this machine.*://"):
        tf_boxconv.export(built, path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrap", [str, Path])
def test_a_tilde_is_the_home_folder(built, tmp_path, monkeypatch, wrap):
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    tf_boxconv.export(built, wrap("~/models/net"))
    assert (home / "models/net/saved_model.pb").exists()
    assert not list(here.iterdir())


@pytest.mark.parametrize("format", ["saved_model", "saved_model_portable", "onnx"])
def test_nested_outputs_are_refused(tmp_path, format):
    inputs = keras.Input((4, 5, 2))
    outputs = {"a": inputs, "b": [DepthwiseBoxConv2D()(inputs), inputs]}
    path = tmp_path / ("x.onnx" if format == "onnx" else "x")
    with pytest.raises(ValueError, match=r"^The outputs of `model` must be .*is not nested"):
        tf_boxconv.export(keras.Model(inputs, outputs), path, format)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("outputs", [tuple, list, lambda pair: dict(zip("ab", pair, strict=True))])
def test_flat_outputs_are_accepted(outputs):
    inputs = keras.Input((4, 5, 2))
    require_flat_outputs(keras.Model(inputs, outputs((inputs, inputs + 1))))
    require_flat_outputs(keras.Model(inputs, inputs))


@pytest.mark.parametrize("format", ["onnx", "tfjs"])
def test_lookup_tables_are_refused(tmp_path, format):
    image, word = keras.Input((4, 5, 2)), keras.Input((1,), dtype="string")
    index = keras.layers.StringLookup(vocabulary=["a", "b"])(word)
    embedded = keras.layers.Reshape((1, 1, 1))(keras.layers.Embedding(4, 1)(index))
    model = keras.Model([image, word], DepthwiseBoxConv2D()(image) + embedded)
    path = tmp_path / ("x.onnx" if format == "onnx" else "x")
    with pytest.raises(ValueError, match=r"^`model` must not need resources.*StringLookup"):
        tf_boxconv.export(model, path, format)
    assert not list(tmp_path.iterdir())
