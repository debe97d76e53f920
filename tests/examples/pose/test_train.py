"""Tests of `train` and `evaluate` as commands: complete, killed and resumed runs, and errors.

A training that is killed, and the one that it is compared with, have processes of their own. Other
commands run in this process, because importing TensorFlow takes seconds.
"""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tf_boxconv.layers  # noqa: F401
from examples.pose import datasets, evaluate, train
from examples.pose.training import duration
from examples.pose.training.run_folder import RunFolder
from tests.examples.commands import outcome
from tests.examples.pose import drawn_figures

ROOT = Path(__file__).resolve().parents[3]
ARGUMENTS = [
    *("--epochs", "3", "--steps_per_epoch", "12", "--batch_size", "4"),
    *("--model", "full_resolution", "--image_size", "32", "--width", "8", "--depth", "2"),
    *("--ema", "0.9", "--weight_decay", "0.01", "--clip_norm", "1"),
]


def start(command, run, *arguments):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.examples.pose.drawn_figures", command, "--run", str(run)]
        + [str(argument) for argument in arguments],
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finish(*arguments):
    process = start(*arguments)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return output


@pytest.fixture
def on_drawn_figures(monkeypatch):
    """Replaces the data sets of commands in this process."""
    monkeypatch.setattr(datasets, "load", drawn_figures.load)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """The folder of a run that was not interrupted, and the output of its training."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    return run, finish("train", run, *ARGUMENTS)


def test_a_run_ends_with_model_metrics_and_table(whole_run):
    run, output = whole_run
    assert "all joints" in output and "Epoch 3/3" in output
    result = json.loads((run / "metrics.json").read_text())
    assert result["epochs"] == 3 and 0 <= result["pck"] <= 100
    model = RunFolder(run).load_model()
    assert model.count_params() == result["parameters"]
    assert list((run / "logs").rglob("events*"))


@pytest.mark.long
def test_a_training_killed_within_an_epoch_resumes_and_ends_the_same(whole_run, tmp_path):
    whole, _ = whole_run
    run = tmp_path / "killed"
    process = start("train", run, *ARGUMENTS)
    for line in process.stdout:  # the second epoch has begun, and its steps are under way
        if line.startswith("Epoch 2/3"):
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert process.returncode == -signal.SIGKILL
    assert not (run / "metrics.json").exists()

    output = finish("train", run, *ARGUMENTS)
    assert "after epoch 1 of 3" in output
    assert "Epoch 2/3" in output and "Epoch 3/3" in output and "Epoch 1/3" not in output
    assert json.loads((run / "metrics.json").read_text())["epochs"] == 3
    resumed, expected = RunFolder(run).load_model(), RunFolder(whole).load_model()
    for a, b in zip(resumed.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    resumed, expected = RunFolder(run).load_state(), RunFolder(whole).load_state()
    assert resumed.keys() == expected.keys() and resumed["step"] == expected["step"] == 36
    for name, value in resumed.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_a_training_that_diverges_stops_and_says_where(on_drawn_figures, tmp_path):
    status, errors = outcome(train.main, "--run", tmp_path, *ARGUMENTS, "--learning_rate", "1e30")
    assert status == 1
    assert re.search(
        r"diverged at step \d+: .*loss.* learning rate \d.*There is no checkpoint yet", errors
    ), errors
    assert not (tmp_path / "state.npz").exists() and not (tmp_path / "metrics.json").exists()


@pytest.mark.long
def test_a_training_killed_before_the_first_save_starts_again(on_drawn_figures, tmp_path, capsys):
    process = start("train", tmp_path, *ARGUMENTS, "--epochs", "1")
    for line in process.stdout:
        if line.startswith("Epoch 1/1"):
            break
    process.kill()
    process.wait()
    process.stdout.close()
    assert outcome(train.main, "--run", tmp_path, *ARGUMENTS, "--epochs", "1") == (0, "")
    assert "Resuming" not in capsys.readouterr().out and (tmp_path / "metrics.json").exists()


def test_a_finished_run_is_left_alone(whole_run, on_drawn_figures, capsys):
    run, _ = whole_run
    before = (run / "model.keras").stat().st_mtime_ns
    assert outcome(train.main, "--run", run, *ARGUMENTS) == (0, "")
    assert "is finished: 3 epochs done. Nothing to do." in capsys.readouterr().out
    assert (run / "model.keras").stat().st_mtime_ns == before


def test_a_run_that_is_resumed_keeps_its_length(whole_run, on_drawn_figures, capsys):
    run, _ = whole_run
    assert ARGUMENTS[:2] == ["--epochs", "3"]
    assert outcome(train.main, "--run", run, *ARGUMENTS[2:]) == (0, "")
    assert "is finished: 3 epochs done. Nothing to do." in capsys.readouterr().out


def test_minutes_set_the_number_of_epochs(on_drawn_figures, tmp_path, monkeypatch, capsys):
    """The clock says 1 s for a step and 30 s for an evaluation, so 34 s for an epoch of 4 steps."""

    def seconds(call):
        call()
        return float(duration.MEASURED_STEPS)

    monkeypatch.setattr(duration, "_seconds", seconds)

    def train_for(*length):
        rest = [*ARGUMENTS[4:], "--steps_per_epoch", "4"]
        status, errors = outcome(train.main, "--run", tmp_path / "run", *length, *rest)
        return status, capsys.readouterr().out + errors

    status, output = train_for("--minutes", "1")
    assert status == 0 and "Epoch 2/2" in output
    assert "2 epochs take about 1.1 min on this machine." in output
    for length in (("--minutes", "1"), ("--epochs", "2")):
        status, output = train_for(*length)
        assert status == 0 and "is finished: 2 epochs done" in output
    status, output = train_for("--minutes", "2")
    assert status == 1 and "minutes: 1 there, 2 now" in output
    status, output = train_for("--epochs", "3")
    assert status == 0 and "Extending a run of 2 epochs to 3." in output


def test_steps_are_timed_for_a_hundredth_of_the_time(monkeypatch):
    """A block of steps takes 20, 40, 60 ... s, and an evaluation as long as the block after it."""
    taken = []

    def seconds(call):
        call()
        taken.append(20.0 * (len(taken) + 1))
        return taken[-1]

    class Steps:
        made = 0

        def run(self, batches, steps):
            self.made += steps

    monkeypatch.setattr(duration, "_seconds", seconds)
    trainer = Steps()
    epochs, minutes = duration.epochs_in(150, 60, trainer, iter(()), lambda: None)
    # 20 + 40 s are less than 90 s; 20 + 40 + 60 s for 90 steps are enough.
    assert taken == [20, 40, 60, 80]
    assert trainer.made == duration.FIRST_STEPS + 3 * duration.MEASURED_STEPS
    assert epochs == 56 and minutes == pytest.approx(56 * (60 * 120 / 90 + 80) / 60)


def test_weights_that_do_not_fit_are_refused_before_the_timing(
    whole_run, on_drawn_figures, tmp_path, monkeypatch
):
    monkeypatch.setattr(duration, "epochs_in", lambda *_: pytest.fail("steps were timed"))
    network = ("--model", "light", "--width", "24", "--image_size", "32")
    status, errors = outcome(
        train.main, "--run", tmp_path / "run", "--minutes", "1", "--init", whole_run[0], *network
    )
    assert status == 1 and "has no weight that fits this network" in errors
    assert not (tmp_path / "run").exists()


def test_other_arguments_are_refused_by_name(whole_run, on_drawn_figures):
    run, _ = whole_run
    status, errors = outcome(train.main, "--run", run, *ARGUMENTS, "--width", "16")
    assert status == 1
    assert errors.splitlines()[-2].strip() == "width: 8 there, 16 now"


def test_evaluate_prints_and_writes(whole_run, on_drawn_figures, capsys):
    run, _ = whole_run
    assert outcome(evaluate.main, "--run", run)[0] == 0
    output = capsys.readouterr().out
    assert "multiply-adds per image" in output and "all joints" in output
    result = json.loads((run / "evaluation-stick_figures.json").read_text())
    assert result["pck"] == json.loads((run / "metrics.json").read_text())["pck"]
    assert set(result["seconds_per_image"]) == {"batch_1", "batch_16"}


def test_a_missing_data_set_is_one_clear_error(tmp_path):
    status, errors = outcome(
        train.main,
        *("--dataset", "lsp", "--run", tmp_path / "run"),
        *("--data_dir", tmp_path / "nowhere", "--prepared_dir", tmp_path / "prepared"),
    )
    assert status == 1
    assert "nowhere" in errors and "lsp_dataset.zip" in errors


@pytest.mark.parametrize(
    "bad",
    [
        ["--epochs", "0"],
        ["--model", "dense"],
        ["--context", "boxes"],
        ["--batch_size", "x"],
        ["--minutes", "5", "--epochs", "2"],
    ],
)
def test_bad_arguments(bad, capsys):
    with pytest.raises(SystemExit):
        train.main(["--run", "unused", *bad])
    assert bad[0].lstrip("-") in capsys.readouterr().err


@pytest.mark.parametrize(
    "bad,message",
    [
        (["--learning_rate", "0"], "`learning_rate` must be positive, got 0"),
        (["--ema", "1"], "`ema` must be from 0 to below 1, got 1"),
        (["--clip_norm", "-1"], "`clip_norm` must not be negative, got -1"),
        (["--stacks", "2"], "'full_resolution' takes no `stacks`"),
        (["--strategy", "multiworker"], "TF_CONFIG"),
        (["--strategy", "multiworker", "--minutes", "9"], "--minutes is for trainings in one"),
    ],
)
def test_invalid_combinations_of_arguments_give_an_error(bad, message, on_drawn_figures, tmp_path):
    arguments = ARGUMENTS[2:] if "--minutes" in bad else ARGUMENTS
    status, errors = outcome(train.main, "--run", tmp_path / "run", *arguments, *bad)
    assert status == 1 and message in errors
