"""`python -m tf_boxconv.inspect` on each kind of model, and on files that are not models."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import tf_boxconv
from tests import tolerances
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


def output_of(capsys, *arguments):
    inspect.main([str(argument) for argument in arguments])
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "needed"), [("model.keras", True), ("native", True), ("portable", False)]
)
def test_json_lists_layers_boxes_and_whether_the_library_is_needed(
    folder, built, capsys, name, needed
):
    found = json.loads(output_of(capsys, folder / name, "--json"))
    assert found["needs_library"] is needed
    assert [layer["type"] for layer in found["layers"]] == [
        "DepthwiseBoxConv2D",
        "BoxConv2D",
        "DepthwiseBoxConv2D",
        "DepthwiseBoxConv2D",
    ]
    layers = [built.layers[2], built.layers[3], built.layers[4].box_conv, built.layers[5]]
    for layer, entry in zip(layers, found["layers"], strict=True):
        np.testing.assert_allclose(entry["boxes"], layer.boxes, atol=tolerances.BOX_BOUNDS)
    assert found["layers"][0]["max_size"] == [20, 26]
    assert found["layers"][2]["name"].endswith("block/box_conv")
    assert found["bytes"] > 1000 and found["parameters"] == built.count_params()


def test_text_says_what_the_model_needs(folder, capsys):
    text = output_of(capsys, folder / "model.keras")
    assert "24 channels x 2" in text and "20x26" in text
    assert "import tf_boxconv" in text and "saved_model_portable" in text
    assert "do not include the four numbers of its scale" in text
    assert tf_boxconv.library_path() in output_of(capsys, folder / "native")
    text = output_of(capsys, folder / "portable")
    assert "block/box_conv" in text and "Does not need the op library" in text


def test_a_saved_model_written_by_keras(folder, capsys):
    text = output_of(capsys, folder / "by_keras")
    assert "custom ops" in text and "not written by tf_boxconv.export" in text
    assert tf_boxconv.library_path() in text


def test_a_keras_file_of_portable_layers_needs_the_package_too(tmp_path, capsys):
    inputs = keras.Input((8, 8, 3))
    layer = tf_boxconv.layers.BoxConv2D(2, implementation="portable")
    keras.Model(inputs, layer(inputs)).save(tmp_path / "model.keras")
    assert "Needs this package" in output_of(capsys, tmp_path / "model.keras")


def test_a_keras_file_with_the_operator_alone_needs_the_package(tmp_path, capsys):
    inputs = keras.Input((8, 8, 1))
    outputs = tf_boxconv.box_conv2d(inputs, [[[-1.5, -1.5, 1.5, 1.5]]])
    keras.Model(inputs, outputs).save(tmp_path / "model.keras")
    text = output_of(capsys, tmp_path / "model.keras")
    assert "No box layers" in text and "Needs this package" in text


def test_a_model_without_boxes(tmp_path, capsys):
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "model.keras")
    text = output_of(capsys, tmp_path / "model.keras")
    assert "No box layers" in text and "Does not need this package" in text


def error_of(capsys, path):
    with pytest.raises(SystemExit) as raised:
        inspect.main([str(path)])
    message = str(raised.value)
    assert message.startswith("error: ") and "\n" not in message and len(message) < 600
    return message


@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built")
def test_a_keras_file_that_was_not_built_is_an_error(tmp_path, capsys):
    keras.Sequential([tf_boxconv.layers.BoxConv2D(2)]).save(tmp_path / "model.keras")
    message = error_of(capsys, tmp_path / "model.keras")
    assert "holds a model that was not built" in message


def test_files_that_are_not_models_give_a_one_line_error(folder, tmp_path, capsys):
    archive = (folder / "model.keras").read_bytes()
    graph = (folder / "native" / "saved_model.pb").read_bytes()
    (tmp_path / "text.keras").write_bytes(b"no zip")
    (tmp_path / "cut.keras").write_bytes(archive[: len(archive) // 2])
    (tmp_path / "empty.keras").touch()
    (tmp_path / "folder.keras").mkdir()
    (tmp_path / "model.weights.h5").touch()
    for name, content in [("bytes", b"\xff" * 3), ("cut", graph[: len(graph) // 2]), ("none", b"")]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "saved_model.pb").write_bytes(content)
    for name, message in [
        ("missing", "does not exist"),
        ("folder.keras", "a folder without saved_model.pb"),
        ("text.keras", "Keras cannot load"),
        ("cut.keras", "Keras cannot load"),
        ("empty.keras", "Keras cannot load"),
        ("model.weights.h5", "save it as .keras"),
        ("bytes", "not a readable SavedModel"),
        ("cut", "not a readable SavedModel"),
        ("none", "not a readable SavedModel: it contains no graph"),
        ("none/saved_model.pb", f"Pass the folder {tmp_path / 'none'}"),
    ]:
        assert message in error_of(capsys, tmp_path / name)
    assert f"such as {folder}" in error_of(capsys, folder)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"layers": [{}]}', '{"layers": [], "parameters": 1}', "\xff"]
)
def test_a_damaged_description_is_an_error(folder, tmp_path, capsys, content):
    shutil.copytree(folder / "native", tmp_path / "model")
    (tmp_path / "model" / "assets.extra" / "tf_boxconv.json").write_text(content)
    message = error_of(capsys, tmp_path / "model")
    assert "tf_boxconv.json is damaged" in message


def test_the_error_about_missing_tensorflow_says_what_to_install(folder):
    code = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "from tf_boxconv import inspect\n"
        "inspect.main([sys.argv[1]])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder / "native")],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    if "No module named 'jax'" in done.stderr:
        pytest.skip("JAX is missing")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert "needs TensorFlow, which is not installed: `pip install" in done.stderr


def test_help_explains_the_exit_code(capsys):
    with pytest.raises(SystemExit) as raised:
        inspect.main(["--help"])
    assert raised.value.code == 0
    assert "exit code is 1" in capsys.readouterr().out
