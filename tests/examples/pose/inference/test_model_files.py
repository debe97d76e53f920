"""Tests of the paths that `--model` and `--run` accept, and of the errors for other paths."""

import json
import shutil
from pathlib import Path

import pytest

from examples.pose import evaluate, export, predict, understand
from examples.pose.datasets.skeletons import LSP_SKELETON, Skeleton
from examples.pose.inference import exporter
from examples.pose.inference.model_files import find_model, model_inputs
from examples.pose.inference.predictor import load_predictor, load_run
from examples.pose.training.run_folder import RunFolderError
from examples.serving import export as serving_export
from examples.web import build
from tests.examples.commands import refused
from tests.examples.pose.tiny_run import write_tiny_run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(*names):
    for name in names:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("runs/a", "runs/a"),
        ("runs/a/model.keras", "runs/a"),
        ("exported/pose/1", "exported/pose/1"),
        ("exported/pose/1/saved_model.pb", "exported/pose/1"),
        ("exported/pose", "exported/pose/1"),
    ],
)
def test_paths_that_name_a_model(folder, given, found):
    make("runs/a/model.keras", "runs/a/config.json", "exported/pose/1/saved_model.pb")
    make("exported/pose/.tf_boxconv-0/2/saved_model.pb")  # Of an export that was killed.
    assert find_model(given) == Path(found)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("nowhere", "no such folder"),
        ("runs/a/config.json", "is a file"),
        ("a.jpg", "is a file"),
        ("runs", "Give one of them: runs/a, runs/b"),
        ("exported", "Give one of them: exported/hands/1, exported/pose/2, exported/pose/10"),
        ("exported/pose", "exported/pose/2, exported/pose/10"),
        ("begun", "no epoch of its training is finished"),
        ("alone/model.keras", "no config.json beside it"),
        ("alone", "no config.json beside it"),
        ("empty", "neither a run folder"),
    ],
)
def test_other_paths_give_a_one_line_error(folder, capsys, given, words):
    make("a.jpg", "runs/a/model.keras", "runs/a/config.json", "runs/b/model.keras")
    make("exported/pose/10/saved_model.pb", "exported/pose/2/saved_model.pb")
    make("exported/hands/1/saved_model.pb", "begun/config.json", "alone/model.keras")
    Path("empty").mkdir()
    for load in (find_model, load_predictor, load_run):
        with pytest.raises(RunFolderError) as raised:
            load(given)
        assert words in str(raised.value) and "\n" not in str(raised.value)
    for command in (
        (predict.main, "a.jpg", "--output", "o.png", "--model", given),
        (export.main, "--output", "new", "--run", given),
        (serving_export.main, "--models", "new", "--run", given),
    ):
        assert words in refused(*command)
    assert not Path("new").exists() and not Path("o.png").exists()


@pytest.mark.parametrize("damage", ["config.json", "model.keras", "no skeleton", "model cut"])
def test_a_damaged_run_gives_a_one_line_error(folder, damage):
    write_tiny_run(Path("run"))
    model = Path("run/model.keras")
    if damage == "no skeleton":
        Path("run/config.json").write_text('{"image_size": 32}')
    elif damage == "model cut":
        model.write_bytes(model.read_bytes()[:-100])
    else:
        Path("run", damage).write_bytes(b"\0\xff{")
    with pytest.raises(
        RunFolderError, match=r"run.* (cannot be loaded|is damaged|was not)"
    ) as raised:
        load_predictor("run")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (
            {"image_size": 64},
            "says 64 x 64 pixels and 14 joints; the model takes pictures of 32 x 32",
        ),
        ({"image_size": 0}, "`image_size` is missing or wrong"),
        ({"image_size": True}, "`image_size` is missing or wrong"),
        ({"image_size": "32"}, "`image_size` is missing or wrong"),
        ({"skeleton": LSP_SKELETON.to_metadata() | {"joint_names": ["neck"]}}, "`skeleton` is"),
        (
            {"skeleton": Skeleton(("neck",), (), (), (0, 0)).to_metadata()},
            "says 32 x 32 pixels and 1 joints;",
        ),
        ({"dataset": None}, "`dataset` is missing or wrong"),
        ({"dataset": ["lsp"]}, "`dataset` is missing or wrong"),
    ],
)
def test_a_wrong_entry_in_config_json_gives_a_one_line_error(folder, edit, words):
    write_tiny_run(Path("run"), dataset="stick_figures")
    config = json.loads(Path("run/config.json").read_text())
    Path("run/config.json").write_text(json.dumps(config | edit))
    commands = [(evaluate.main, "--run", "run"), (understand.main, "--run", "run")]
    if "dataset" not in edit:
        commands.append((export.main, "--run", "run", "--output", "new"))
        commands.append((build.main, "--run", "run", "--output", "new"))
        commands.append((predict.main, "a.jpg", "--model", "run", "--output", "o.png"))
    for command in commands:
        assert words in refused(*command)
    assert not Path("new").exists()


@pytest.mark.parametrize(
    "damage",
    [
        *("saved_model.pb", "variables/variables.index"),
        *("assets/skeleton.json", "assets/settings.json"),
    ],
)
def test_a_damaged_saved_model_gives_a_one_line_error(folder, monkeypatch, damage):
    monkeypatch.setattr(exporter, "check", lambda *_: {"joints": 0.0, "scores": 0.0})
    exporter.export(load_run(write_tiny_run(Path("run"))), "exported/1")
    Path("exported/1", damage).write_bytes(b"\0\xff{")
    with pytest.raises(RunFolderError, match="exported/1 cannot be loaded: ") as raised:
        load_predictor("exported")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "settings", ["[]", "null", "{}", '{"flip_test": 3, "decoding": "quarter"}']
)
def test_wrong_settings_of_a_saved_model_give_a_one_line_error(folder, monkeypatch, settings):
    monkeypatch.setattr(exporter, "check", lambda *_: {"joints": 0.0, "scores": 0.0})
    exporter.export(load_run(write_tiny_run(Path("run"))), "exported/1")
    Path("exported/1/assets/settings.json").write_text(settings)
    with pytest.raises(RunFolderError, match=r"settings\.json was not written by"):
        load_predictor("exported/1")


def test_load_run_refuses_a_saved_model(folder):
    make("exported/1/saved_model.pb")
    with pytest.raises(RunFolderError, match="is a SavedModel: give the run folder"):
        load_run("exported/1")


def test_inputs_of_a_model(folder):
    make("run/model.keras", "run/config.json", "run/logs/x", "run/predictions.png")
    names = {str(path) for path in model_inputs(Path("run")) if path.exists()}
    assert names == {"run/model.keras", "run/config.json", "run/logs/x"}
    make("saved/saved_model.pb", "saved/variables/variables.index")
    assert {path.name for path in model_inputs(Path("saved"))} == {
        "saved_model.pb",
        "variables.index",
    }
    shutil.rmtree("saved")
