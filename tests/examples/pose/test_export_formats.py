"""Exports with decoding give the joints of `predict`, each in its own runtime."""

import sys

import numpy as np
import pytest
from PIL import Image

from benchmarks.export_runtimes import RUNTIMES, Names
from examples.pose import datasets, export
from examples.pose.datasets.stick_figures.figure import draw_figure
from examples.pose.inference import exporter, model_files
from examples.pose.inference.predictor import load_run
from tests.data_folder import DATA_DIR
from tests.examples.commands import refused
from tests.examples.pose.drawn_figures import load as load_drawn_figures
from tests.examples.pose.pretrained import STICK_FIGURES
from tests.exporting.runtimes import loaded, skip_unless_installed
from tf_boxconv.exporting import FORMATS

COUNT = 20


def drawn(index: int) -> np.ndarray:
    """A figure of the test set; sizes and aspect ratios differ."""
    image = draw_figure(0, "test", index, size=60 + 7 * index).image
    cut = (index % 4) * image.shape[0] // 16
    return image[cut:] if index % 2 else image[:, cut : image.shape[1] - cut]


FIGURES = [drawn(index) for index in range(COUNT)]


def network_and_pictures():
    """A run folder, and pictures of what its network knows: photographs if there are any."""
    paths = sorted((DATA_DIR / "lsp" / "images").glob("im*.jpg"))[-COUNT:]
    if paths:
        return model_files.PRETRAINED, [np.asarray(Image.open(p).convert("RGB")) for p in paths]
    return STICK_FIGURES, FIGURES


@pytest.fixture(scope="module")
def case():
    """A run folder, pictures, and the answers of `predict` for them."""
    run, pictures = network_and_pictures()
    predictor = load_run(run)
    return run, pictures, [predictor.predict(picture) for picture in pictures]


NAMES = Names("images", ("joints", "scores"))


def exported(folder, run, format, *options):
    """Exports the network of a run by the command; returns the function of its runtime."""
    skip_unless_installed(format)
    path = folder / f"pose{FORMATS[format].suffix or ''}"
    arguments = ["--run", run, "--output", path, "--format", format, *options]
    export.main(list(map(str, arguments)))
    assert [entry.name for entry in folder.iterdir()] == [path.name]
    return loaded(path, format, names=NAMES)


def errors(run, pictures, expected):
    """Distances of the joints in pixels, and differences of the scores; `[pictures, joints]`."""
    answers = [run(picture[np.newaxis]) for picture in pictures]
    joints, scores = (np.concatenate(values) for values in zip(*answers, strict=True))
    expected_joints, expected_scores = map(np.stack, zip(*expected, strict=True))
    distances = np.linalg.norm(joints - expected_joints, axis=-1)
    return distances, np.abs(scores - expected_scores)


def test_the_command_has_every_format_and_the_test_every_runtime():
    assert set(export.FORMATS) == set(FORMATS) == set(RUNTIMES)


@pytest.mark.long
@pytest.mark.parametrize("format", RUNTIMES)
def test_equals_predict(format, tmp_path, case, monkeypatch):
    monkeypatch.setattr(exporter, "check", lambda *_: {"joints": 0.0, "scores": 0.0})
    run, pictures, expected = case
    distances, differences = errors(exported(tmp_path, run, format), pictures, expected)
    assert distances.max() < 0.5 and differences.max() < 1e-3


@pytest.mark.long
@pytest.mark.parametrize(
    ("quantize", "limit", "share"),
    [("float16", 0.5, 0.98), ("dynamic_range", 4, 0.95), ("int8", 4, 0.93)],
)
def test_quantized(quantize, limit, share, tmp_path, monkeypatch):
    """Rounding may move a peak by a cell, or to another peak of almost the same height."""
    monkeypatch.setattr(datasets, "load", load_drawn_figures)
    predictor = load_run(STICK_FIGURES)
    run = exported(tmp_path, STICK_FIGURES, "litert", "--quantize", quantize)
    distances, _ = errors(run, FIGURES, [predictor.predict(figure) for figure in FIGURES])
    assert (distances < limit).mean() > share


@pytest.mark.parametrize(
    ("output", "options", "message"),
    [
        ("pose", ["--format", "coreml"], "--format: invalid choice: 'coreml'"),
        ("pose", ["--format", "onnx"], "--output must end in '.onnx' for this format"),
        (
            "pose.onnx",
            ["--format", "onnx", "--quantize", "int8"],
            "--quantize is for --format litert",
        ),
        (
            "pose",
            ["--format", "openvino"],
            "--format openvino needs modules that are not installed",
        ),
        ("pose.onnx", [], '--output ends like a file of format="onnx"'),
        ("pose.tflite", ["--format", "tfjs"], '--output ends like a file of format="litert"'),
        ("taken", ["--format", "tfjs"], "--output exists; --overwrite replaces only"),
        ("taken", ["--format", "tfjs", "--overwrite"], "exists and is not a TensorFlow.js model"),
    ],
)
def test_refused(output, options, message, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").touch()
    run = ["--run", model_files.PRETRAINED]
    assert message in refused(export.main, *run, "--output", output, *options)
    assert [entry.name for entry in tmp_path.rglob("*")] == ["taken", "mine"]


def test_missing_pictures_for_int8_are_named(tmp_path, monkeypatch):
    def load(*arguments):
        raise ValueError("The folder of lsp is missing.")

    monkeypatch.setattr(datasets, "load", load)
    arguments = ["--run", model_files.PRETRAINED, "--output", tmp_path / "pose.tflite"]
    message = refused(export.main, *arguments, "--format", "litert", "--quantize", "int8")
    assert message == "error: The folder of lsp is missing."
    assert not list(tmp_path.iterdir())
