"""Compares training on several devices and in several processes with training in one process."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from examples.pose.training import launcher
from examples.pose.training.distribution import cluster, make_workers
from examples.pose.training.run_folder import RunFolder
from tests.examples.pose import children

ROOT = Path(__file__).resolve().parents[4]
ARGUMENTS = [
    *("--epochs", "3", "--steps_per_epoch", "5", "--batch_size", "4", "--learning_rate", "1e-3"),
    *("--model", "full_resolution", "--image_size", "16", "--width", "4", "--depth", "1"),
    *("--ema", "0.9", "--weight_decay", "0.01", "--clip_norm", "0.5"),
]


def command(run, *arguments):
    module = "tests.examples.pose.drawn_figures"
    return [sys.executable, "-m", module, "train", "--run", str(run), *ARGUMENTS, *arguments]


needs_jax = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is missing")
BACKENDS = ["tensorflow", pytest.param("jax", marks=needs_jax)]


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request):
    """The Keras backend to train on."""
    return request.param


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    monkeypatch.delenv("TF_CONFIG", raising=False)


@pytest.fixture
def on_backend(backend, monkeypatch):
    """Sets the backend for processes that a test starts."""
    monkeypatch.setenv("KERAS_BACKEND", backend)


@pytest.fixture(scope="module")
def alone(backend, tmp_path_factory):
    """The final state of a training in one process."""
    run = tmp_path_factory.mktemp("runs") / "alone"
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": backend}
    subprocess.run(command(run), cwd=ROOT, env=environment, check=True)
    return RunFolder(run).load_state()


def assert_same_training(run, alone):
    state = RunFolder(run).load_state()
    assert state.keys() == alone.keys() and state["step"] == 15
    moved = 0
    for name, value in state.items():
        if "heatmaps" in name and "bias" in name:
            continue  # Its gradient is zero up to rounding: the softmax ignores the bias.
        # Adam divides small gradients by their own size, which magnifies rounding errors.
        np.testing.assert_allclose(value, alone[name], rtol=2e-3, atol=2e-4, err_msg=name)
        moved += name.startswith("optimizer") and np.any(value != 0)
    assert moved > 10
    assert json.loads((Path(run) / "metrics.json").read_text())["epochs"] == 3


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_two_workers_match_one_process(alone, on_backend, tmp_path):
    run = RunFolder(tmp_path)
    arguments = command(tmp_path, "--strategy", "multiworker")
    assert launcher.launch(run, 2, arguments, max_restarts=0) == 0
    assert_same_training(tmp_path, alone)


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_two_devices_match_one_device(alone, on_backend, tmp_path, monkeypatch):
    monkeypatch.setenv("TF_BOXCONV_TEST_DEVICES", "2")
    subprocess.run(command(tmp_path, "--strategy", "mirrored"), check=True)
    assert_same_training(tmp_path, alone)


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_training_resumes_from_checkpoint_after_a_worker_is_killed(
    alone, on_backend, tmp_path, monkeypatch, capfd
):
    run = RunFolder(tmp_path)
    started = []
    start_workers = launcher.start_workers

    def start(*arguments):
        workers = start_workers(*arguments)
        started.append((workers, run.state_path.exists()))
        if len(started) == 1:
            threading.Thread(target=kill_after_checkpoint, args=(workers[1],)).start()
        return workers

    def kill_after_checkpoint(worker):
        while not run.state_path.exists() and worker.poll() is None:
            time.sleep(0.01)
        worker.send_signal(signal.SIGKILL)

    monkeypatch.setattr(launcher, "start_workers", start)
    arguments = command(tmp_path, "--strategy", "multiworker")
    assert launcher.launch(run, 2, arguments, max_restarts=0) == 0
    (first, before), (second, after) = started
    assert first[1].returncode == -signal.SIGKILL and first[0].returncode != 0
    assert not before and after and [worker.returncode for worker in second] == [0, 0]
    printed = capfd.readouterr().out
    assert "was ended by signal 9. Starting all again" in printed and "Resuming" in printed
    assert_same_training(tmp_path, alone)


@pytest.mark.long
@pytest.mark.timeout(1500)
@needs_jax
def test_jax_resumes_a_tensorflow_run(tmp_path, monkeypatch):
    """Both backends use the same files and make the same steps."""
    runs = {name: tmp_path / name for name in ("tensorflow", "jax")}
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    first = RunFolder(runs["tensorflow"])
    with subprocess.Popen(command(first.path)) as process:
        while not first.state_path.exists() and process.poll() is None:
            time.sleep(0.01)
        process.kill()
    stopped_after = first.load_state()["step"]
    assert 0 < stopped_after < 15
    shutil.copytree(first.path, runs["jax"])
    for name, run in runs.items():
        monkeypatch.setenv("KERAS_BACKEND", name)
        subprocess.run(command(run), check=True)
    assert_same_training(runs["jax"], RunFolder(runs["tensorflow"]).load_state())


def worker_command(tmp_path, code):
    """A command that runs Python `code` in each worker. The code may use `index` and `run`."""
    prelude = "import json, os, pathlib, signal, sys, time\n"
    prelude += "index = json.loads(os.environ['TF_CONFIG'])['task']['index']\n"
    prelude += f"run = pathlib.Path({str(tmp_path)!r})\n"
    return [sys.executable, "-c", prelude + code]


def count_starts(capfd):
    """How often `launch` has started the workers."""
    return capfd.readouterr().out.count("Workers: 0 is process")


def test_successful_workers_are_not_restarted(tmp_path, capfd):
    code = "assert len(json.loads(os.environ['TF_CONFIG'])['cluster']['worker']) == 3"
    assert launcher.launch(RunFolder(tmp_path), 3, worker_command(tmp_path, code), 2) == 0
    assert count_starts(capfd) == 1


def test_workers_are_not_restarted_after_an_error_without_progress(tmp_path, capfd):
    code = "sys.exit(7) if index else time.sleep(60)"
    assert launcher.launch(RunFolder(tmp_path), 2, worker_command(tmp_path, code), 2) == 7
    assert count_starts(capfd) == 1


def test_restarts_without_progress_are_limited(tmp_path, capfd):
    code = "os.kill(os.getpid(), signal.SIGKILL) if index else time.sleep(60)"
    assert launcher.launch(RunFolder(tmp_path), 2, worker_command(tmp_path, code), 2) == 1
    assert count_starts(capfd) == 3


def test_workers_stop_when_the_launcher_is_terminated(tmp_path):
    """A worker that kept running would hold the lock of the run folder."""
    code = "(run / f'pid{index}').write_text(str(os.getpid())); time.sleep(60)"
    worker = worker_command(tmp_path, code)
    program = f"""
import sys
from examples.pose.cli import command_line
from examples.pose.training import launcher
from examples.pose.training.run_folder import RunFolder
main = lambda: launcher.launch(RunFolder({str(tmp_path)!r}), 2, {worker!r}, 0)
sys.exit(command_line.run(main))
"""
    children.assert_end_with(program, [tmp_path / "pid0", tmp_path / "pid1"])


def test_progress_resets_the_restart_limit(tmp_path, capfd):
    code = """
count = len(list(run.glob('start*')))
if index == 0:
    (run / f'start{count}').touch()
    (run / 'state.npz').write_text(str(count))
    sys.exit(1 if count < 4 else 0)
"""
    assert launcher.launch(RunFolder(tmp_path), 2, worker_command(tmp_path, code), 0) == 0
    assert count_starts(capfd) == 5


def test_unknown_strategy_and_missing_tf_config_raise():
    with pytest.raises(ValueError, match=r"`strategy`.*'multiworker'.*'horovod'"):
        make_workers("horovod")
    with pytest.raises(ValueError, match="TF_CONFIG"):
        make_workers("multiworker")


@pytest.mark.parametrize(
    ("kind", "index", "expected"), [("chief", 0, 0), ("worker", 0, 1), ("worker", 1, 2)]
)
def test_chief_comes_before_workers(monkeypatch, kind, index, expected):
    jobs = {"worker": ["b:1", "c:1"], "chief": ["a:1"]}
    task = {"type": kind, "index": index}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": jobs, "task": task}))
    assert cluster() == (["a:1", "b:1", "c:1"], expected)


@pytest.mark.parametrize("value", [
    "{", "3", "[]", "{}", '{"cluster": {"worker": ["a:1"]}}',
    '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
    '{"cluster": {"worker": ["a:1"]}, "task": {"type": "evaluator", "index": 0}}',
])  # fmt: skip
def test_an_invalid_tf_config_is_named(monkeypatch, value):
    monkeypatch.setenv("TF_CONFIG", value)
    with pytest.raises(ValueError, match="The environment variable TF_CONFIG must be like"):
        cluster()


def test_unsupported_backend_raises(monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "torch")
    with pytest.raises(ValueError, match="tensorflow and jax; KERAS_BACKEND is 'torch'"):
        make_workers("none")
