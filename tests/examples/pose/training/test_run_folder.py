"""Tests of the run folder: full disks, locks, leftovers, damaged and foreign files."""

import errno
import fcntl
import json
import os
import resource
import shutil

import keras
import matplotlib.figure
import numpy as np
import pytest

from examples.pose.evaluation import plots
from examples.pose.files.atomic_write import write_json
from examples.pose.training import run_folder
from examples.pose.training.curves import CurveWriter
from examples.pose.training.run_folder import RunFolder, RunFolderError
from tests.examples.pose.pretrained import STICK_FIGURES
from tests.examples.pose.tiny_run import tiny_model, write_tiny_run

STATE = {"step": np.int64(3), "weight a/b": np.arange(60_000.0)}


@pytest.fixture
def full_disk():
    """Limits the size of files, so that larger writes fail as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def large_figure():
    figure = matplotlib.figure.Figure(figsize=(5, 5))
    figure.subplots().imshow(np.random.default_rng(0).uniform(size=(200, 200)))
    return figure


WRITES = {
    "config.json": lambda run: run.begin({"image_size": 8, "skeleton": {"joints": ["x"] * 9999}}),
    "state.npz": lambda run: run.save_state(STATE),
    "model.keras": lambda run: run.save_model(tiny_model()),
    "metrics.json": lambda run: write_json(run.metrics_path, {"values": list(range(9999))}),
    "picture.png": lambda run: plots.write(large_figure(), run.path / "picture.png"),
}


@pytest.mark.parametrize("name", WRITES)
def test_full_disk_keeps_the_old_file(name, full_disk, tmp_path):
    run, path = RunFolder(tmp_path), tmp_path / name
    path.write_text('{"image_size": 1, "skeleton": {}}')
    with pytest.raises(OSError) as error:
        # `begin` reads config.json before replacing it, so use `write_json` directly.
        write_json(path, {"x": "y" * 9999}) if name == "config.json" else WRITES[name](run)
    assert error.value.errno == errno.EFBIG and error.value.filename == str(path)
    assert path.read_text() == '{"image_size": 1, "skeleton": {}}'
    assert os.listdir(tmp_path) == [name]


def test_curves_on_a_full_disk_raise_oserror(full_disk, tmp_path):
    curves = CurveWriter(tmp_path / "logs")
    with pytest.raises(OSError, match="too large") as error:
        for step in range(200):
            curves.add(step, **{f"curve{i}": 0.0 for i in range(10)})
    assert error.value.filename == str(tmp_path / "logs")


def test_no_curve_files_before_the_first_point(tmp_path):
    CurveWriter(tmp_path / "logs")
    assert not (tmp_path / "logs").exists()


def test_lock_allows_one_training_at_a_time(tmp_path):
    """The lock belongs to the open file, so it also works within one process."""
    with RunFolder(tmp_path).lock():
        with (
            pytest.raises(RunFolderError, match="Another process is training"),
            RunFolder(tmp_path).lock(),
        ):
            pass
        assert os.listdir(tmp_path) == [".lock"]
    with RunFolder(tmp_path).lock():
        pass
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_run_folder_works_without_file_locks(number, tmp_path, monkeypatch, capsys):
    def refuse(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with RunFolder(tmp_path / "run").lock():
        (tmp_path / "run" / "state.npz").touch()
    assert os.listdir(tmp_path / "run") == ["state.npz"]
    assert capsys.readouterr().err.startswith(f"note: {tmp_path}/run/.lock cannot be locked")


def test_failed_lock_leaves_no_files(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OSError, match="Input/output") as caught, RunFolder(tmp_path / "run").lock():
        pass
    assert caught.value.filename == str(tmp_path / "run" / ".lock")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("fails", [False, True])
def test_lock_removes_new_files_if_no_epoch_finished(fails, tmp_path):
    run = RunFolder(tmp_path / "new" / "run")
    with pytest.raises(ZeroDivisionError) if fails else pytest.MonkeyPatch.context(), run.lock():
        (run.logs_path / "boxes").mkdir(parents=True)
        (run.logs_path / "boxes" / "events.out.tfevents.1").touch()
        run.begin({"image_size": 8, "skeleton": {}})
        if fails:
            _ = 1 / 0
    assert not os.listdir(tmp_path)


def test_lock_keeps_files_that_existed_before(tmp_path):
    run = RunFolder(tmp_path)
    run.logs_path.mkdir()
    for name in ("events.out.tfevents.1", "notes.txt"):
        (run.logs_path / name).touch()
    with run.lock():
        (run.logs_path / "events.out.tfevents.2").touch()
    assert sorted(os.listdir(run.logs_path)) == ["events.out.tfevents.1", "notes.txt"]


def test_partial_files_of_a_killed_training_are_removed(tmp_path):
    run = RunFolder(write_tiny_run(tmp_path))
    left = [f".partial-{name}" for name in run_folder.TRAINED_FILES]
    for name in left:
        (tmp_path / name).touch()
    (tmp_path / ".boxes.gif-abc").mkdir()
    (tmp_path / ".partial-evaluation.json").touch()  # Another process may be writing it.
    with run.lock():
        pass
    assert sorted(os.listdir(tmp_path)) == [
        ".partial-evaluation.json",
        "config.json",
        "model.keras",
    ]


@pytest.mark.parametrize("size", [0, 1, 100, -100, -1])
@pytest.mark.parametrize("name", ["config.json", "state.npz", "model.keras", "metrics.json"])
def test_truncated_file_gives_a_one_line_error_with_its_path(name, size, tmp_path):
    run = RunFolder(write_tiny_run(tmp_path))
    run.save_state(STATE)
    write_json(run.metrics_path, {"pck": 50.0, "names": ["a"] * 40})
    path = tmp_path / name
    whole = path.read_bytes()
    path.write_bytes(whole[: size - 1 if size < 0 else size])
    read = {
        "config.json": lambda: run.config,
        "state.npz": run.load_state,
        "model.keras": run.load_model,
        "metrics.json": lambda: run.metrics,
    }[name]
    with pytest.raises(RunFolderError) as error:
        read()
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["[1]", "3", "{}", '{"image_size": "x"}', '{"name": "other"}'])
def test_foreign_config_is_rejected_and_kept(text, tmp_path):
    run = RunFolder(tmp_path)
    run.config_path.write_text(text)
    with pytest.raises(RunFolderError, match=r"config\.json"):
        run.check({"image_size": 8})
    assert run.config_path.read_text() == text


@pytest.mark.parametrize("name", ["model.keras", "state.npz", "metrics.json"])
def test_results_without_a_config_are_not_replaced(name, tmp_path):
    (tmp_path / name).write_text("mine")
    with pytest.raises(RunFolderError, match=r"no config\.json"):
        RunFolder(tmp_path).check({"image_size": 8})


def test_arguments_may_change_until_an_epoch_is_finished(tmp_path):
    run = RunFolder(tmp_path)
    skeleton = json.loads((STICK_FIGURES / "config.json").read_text())["skeleton"]
    run.begin({"image_size": 97, "skeleton": skeleton})
    run.check({"image_size": 96, "skeleton": skeleton})
    run.save_state(STATE)
    with pytest.raises(RunFolderError, match="image_size: 97 there, 96 now"):
        run.check({"image_size": 96, "skeleton": skeleton})


def test_arguments_missing_from_an_older_config_have_their_defaults(tmp_path):
    run = RunFolder(shutil.copytree(STICK_FIGURES, tmp_path / "run"))
    newer = {**run.config, "new": False}
    run.check(newer, defaults={"new": False})
    with pytest.raises(RunFolderError, match="new: False there, True now"):
        run.check({**newer, "new": True}, defaults={"new": False})
    assert isinstance(run.load_model(), keras.Model)
