import json

import keras
import numpy as np
import pytest

import tf_boxconv
from tests.exporting.models import model
from tf_boxconv import inspect


@pytest.fixture(scope="module")
def built():
    return model()


@pytest.fixture(scope="module")
def folder(built, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    built.save(folder / "model.keras")
    tf_boxconv.export(built, folder / "native")
    tf_boxconv.export(built, folder / "portable", "saved_model_portable")
    built.export(folder / "by_keras", verbose=False)
    return folder


def printed(capsys, *arguments):
    inspect.main([str(argument) for argument in arguments])
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "needed"), [("model.keras", True), ("native", True), ("portable", False)]
)
def test_layers_boxes_and_library(folder, built, capsys, name, needed):
    found = json.loads(printed(capsys, folder / name, "--json"))
    assert found["needs_library"] is needed
    assert [layer["type"] for layer in found["layers"]] == [
        "DepthwiseBoxConv2D",
        "BoxConv2D",
        "DepthwiseBoxConv2D",
        "DepthwiseBoxConv2D",
    ]
    layers = [built.layers[2], built.layers[3], built.layers[4].box_conv, built.layers[5]]
    for layer, entry in zip(layers, found["layers"], strict=True):
        np.testing.assert_allclose(entry["boxes"], layer.boxes, atol=1e-4)
    assert found["layers"][0]["max_size"] == [20, 26]
    assert found["layers"][2]["name"].endswith("block/box_conv")
    assert found["bytes"] > 1000 and found["parameters"] == built.count_params()


def test_text(folder, capsys):
    text = printed(capsys, folder / "model.keras")
    assert "24 channels x 2" in text and "20x26" in text
    assert "import tf_boxconv" in text and "saved_model_portable" in text
    assert tf_boxconv.library_path() in printed(capsys, folder / "native")
    text = printed(capsys, folder / "portable")
    assert "block/box_conv" in text and "op library is not needed" in text


def test_a_saved_model_that_keras_wrote(folder, capsys):
    text = printed(capsys, folder / "by_keras")
    assert "box convolutions" in text and "not written by tf_boxconv.export" in text
    assert tf_boxconv.library_path() in text


def test_a_keras_file_needs_the_package_whatever_its_layers_run(tmp_path, capsys):
    inputs = keras.Input((8, 8, 3))
    layer = tf_boxconv.layers.BoxConv2D(2, implementation="portable")
    keras.Model(inputs, layer(inputs)).save(tmp_path / "model.keras")
    assert "its op library are needed" in printed(capsys, tmp_path / "model.keras")


def test_a_model_without_boxes(tmp_path, capsys):
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "model.keras")
    assert "No box layers" in printed(capsys, tmp_path / "model.keras")


def test_what_is_no_model(tmp_path, capsys):
    (tmp_path / "damaged.keras").write_bytes(b"no zip")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "saved_model.pb").write_bytes(b"\xff\xff\xff")
    for name, message in [
        ("missing", "does not exist"),
        (".", "must be a .keras file or the folder of a SavedModel"),
        ("damaged.keras", "cannot be loaded"),
        ("damaged", "no readable SavedModel"),
    ]:
        with pytest.raises(SystemExit) as raised:
            inspect.main([str(tmp_path / name)])
        assert str(raised.value).startswith("error: ") and message in str(raised.value)
