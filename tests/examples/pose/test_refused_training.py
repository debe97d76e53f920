"""If `train` is refused, fails or is stopped, it prints one line and keeps finished epochs only."""

import io
import json
import os
import re
import resource
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.util import tensor_util

from examples.pose import ablation, datasets, demo, launch, train
from examples.pose.cli import command_line
from examples.pose.evaluation import accuracy
from examples.pose.files.atomic_write import write_json
from examples.pose.training import duration, run_length, session, training_data
from examples.pose.training.run_folder import RunFolder
from examples.pose.training.trainer import Trainer
from tests.examples.pose import drawn_figures
from tf_boxconv.visualize import BoxLogger

ARGUMENTS = [
    *("--epochs", "2"),
    *("--steps_per_epoch", "2", "--batch_size", "2"),
    *("--model", "full_resolution", "--image_size", "16", "--width", "4", "--depth", "1"),
]


@pytest.fixture(autouse=True)
def use_drawn_figures(eager, monkeypatch):
    monkeypatch.setattr(datasets, "load", drawn_figures.load)


@pytest.fixture(autouse=True)
def handlers():
    """Restores the signal handlers, which a command that was stopped sets to the default."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def run(capsys, folder, *arguments, command=train.main):
    """Runs a command. Returns its exit status and the text that it printed to standard error."""
    capsys.readouterr()
    try:
        code = command_line.run(lambda: command(["--run", str(folder), *arguments]))
    except SystemExit as end:
        code = end.code
    return code, capsys.readouterr().err.strip()


def assert_trains(capsys, folder):
    code, errors = run(capsys, folder, *ARGUMENTS)
    assert code == 0, errors
    assert RunFolder(folder).metrics["epochs"] == 2
    assert not list(Path(folder).glob(".*"))


REFUSED = {
    "image size": (["--image_size", "97"], "`image_size` must be a multiple of 2, got 97"),
    "image size 0": (["--image_size", "0"], "--image_size: must be at least 1"),
    "stride": (["--stride", "3"], "`stride` must be 2 or 4, got 3"),
    "levels": (["--model", "u_net", "--levels", "9"], "`levels` must be from 2 to 5, got 9"),
    "depth": (["--model", "hourglass", "--depth", "30"], "`image_size` must be a multiple of"),
    "stages": (["--model", "light", "--stages", "3"], "`depth` must be a multiple of `stages`"),
    "other model's": (["--stacks", "2"], "takes no `stacks`"),
    "kernel size": (["--kernel_size", "4"], "`kernel_size` must be an odd number"),
    "unknown option": (["--box_options", '{"strdes": 1}'], "`box_options` .*strdes"),
    "option's type": (["--box_options", '{"max_size": "x"}'], "`box_options` .*max_size"),
    "option's value": (["--box_options", '{"normalization": "mean"}'], "`box_options` .*mean"),
    "initializer": (["--box_options", '{"boxes_initializer": "x"}'], "`box_options` .*initializer"),
    "reserved option": (
        ["--box_options", '{"strides": 2}'],
        "`box_options` must not set",
    ),
    "no object": (["--box_options", "[1]"], "--box_options: must be a JSON object"),
    "rate nan": (["--learning_rate", "nan"], "`learning_rate` must be finite, got nan"),
    "rate inf": (["--learning_rate", "inf"], "`learning_rate` must be finite, got inf"),
    "rate negative": (["--learning_rate=-1"], "`learning_rate` must be positive, got -1"),
    "ema": (["--ema", "1"], "`ema` must be from 0 to below 1, got 1"),
    "ema nan": (["--ema", "nan"], "`ema` must be from 0 to below 1, got nan"),
    "decay": (["--weight_decay", "inf"], "`weight_decay` must be finite, got inf"),
    "clip": (["--clip_norm", "nan"], "`clip_norm` must be finite, got nan"),
    "augmentation": (["--augmentation", "-1"], "--augmentation: must be from 0 to 5, got -1"),
    "augmentation nan": (["--augmentation", "nan"], "--augmentation: must be from 0 to 5, got nan"),
    "epochs": (["--epochs", "0"], "--epochs: must be at least 1, got 0"),
    "epochs huge": (["--epochs", "1" + "0" * 30], "--epochs: must be at most"),
    "seed": (["--seed", "-1"], "--seed: must be at least 0, got -1"),
    "seed large": (["--seed", str(2**32)], "--seed: must be at most 4294967295"),
    "limit": (["--limit_train", "0"], "--limit_train: must be at least 1"),
    "validation": (["--validation_size", "-5"], "--validation_size: must be at least 1"),
    "data set": (["--dataset", "imagenet"], "--dataset must be one or several of .*'imagenet'"),
    "comma": (["--dataset", "lsp,lspet"], "--dataset must be .*joined by '\\+', got 'lsp,lspet'"),
    "twice": (["--dataset", "lsp+lsp"], "twice"),
    "none": (["--dataset", ""], "--dataset must be"),
    "strategy": (["--strategy", "multiworker"], "TF_CONFIG"),
    "data_dir": (["--data_dir", __file__], "--data_dir: must be a folder, got .*test_refused"),
    "prepared_dir": (["--prepared_dir", f"{__file__}/x"], "--prepared_dir: must be a folder"),
}


@pytest.mark.parametrize("arguments, message", REFUSED.values(), ids=REFUSED)
def test_refused_before_anything_is_read_or_written(
    arguments, message, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(datasets, "load", lambda *_: pytest.fail("data were read"))
    monkeypatch.delenv("TF_CONFIG", raising=False)
    code, errors = run(capsys, tmp_path / "new" / "run", *ARGUMENTS, *arguments)
    assert code in (1, 2)
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(errors)
    assert len(errors.splitlines()) == 1 and errors.startswith("error: ")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("command", [train.main, demo.main], ids=["train", "demo"])
@pytest.mark.parametrize("folder", ["", " ", __file__, f"{__file__}/run", "/proc/nowhere/run"])
def test_folders_that_cannot_be_made(folder, command, capsys):
    code, errors = run(capsys, folder, command=command)
    assert code == 2 and "argument --run: " in errors and len(errors.splitlines()) == 1


@pytest.mark.parametrize(
    "command, own",
    [(launch.main, ["--workers", "2"]), (ablation.main, ["boxes", "--runs", "RUNS"])],
    ids=["launch", "ablation"],
)
@pytest.mark.parametrize("bad", [["--image_size", "97"], ["--ema", "2"], ["--seed", "x"]])
def test_commands_that_start_trainings_check_their_arguments(
    command, own, bad, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a training began"))
    own = [str(tmp_path / "runs") if argument == "RUNS" else argument for argument in own]
    common = [*ARGUMENTS, *bad]
    if command is launch.main:
        common = ["--run", str(tmp_path / "run"), *common]
    with pytest.raises(SystemExit) if bad[0] == "--seed" else pytest.MonkeyPatch.context():
        assert command_line.run(lambda: command([*own, "--", *common])) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("bad,message", [
    (["--batch_size", "3"], "`batch_size` must be a multiple of the number of replicas, 2"),
    (["--strategy", "mirrored"], "--strategy must be multiworker here"),
    (["--minutes", "5"], "--minutes is for trainings in one process. Give --epochs instead."),
])  # fmt: skip
def test_arguments_that_workers_do_not_allow(bad, message, tmp_path, capsys, monkeypatch):
    arguments = ["--workers", "2", "--", "--run", str(tmp_path / "run"), *ARGUMENTS[2:], *bad]
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a training began"))
    assert command_line.run(lambda: launch.main(arguments)) == 1
    assert message in capsys.readouterr().err
    assert not os.listdir(tmp_path)


def exhausted(*_, **__):
    raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")


def too_large(*_, **__):
    raise MemoryError("Unable to allocate 9 TiB")


def broken(*_, **__):
    raise ValueError("lsp.zip is not a complete zip file.")


def missing(*_, **__):
    raise FileNotFoundError("`joints.mat` was not found.")


def unwritable(*_, **__):
    raise PermissionError(13, "Permission denied", "state.npz")


FAILURES = {
    "broken data": (datasets, "load", broken, "not a complete zip"),
    "no data": (datasets, "load", missing, "was not found"),
    "no memory": (Trainer, "run", exhausted, "Out of memory"),
    "no memory for the network": (session, "make_trainer", too_large, "Out of memory"),
    "no memory for the data": (
        training_data,
        "read_training_photographs",
        too_large,
        "out of memory",
    ),
    "no permission": (RunFolder, "save_state", unwritable, "state.npz: Permission denied"),
    "no disk for the model": (RunFolder, "begin", unwritable, "Permission denied"),
}


@pytest.fixture(params=["--epochs", "--minutes"])
def arguments(request):
    """`ARGUMENTS`, with either option for the length of the training."""
    return [request.param, *ARGUMENTS[1:]]


@pytest.mark.parametrize("owner, name, failure, message", FAILURES.values(), ids=FAILURES)
def test_a_failure_before_the_first_epoch_leaves_nothing(
    owner, name, failure, message, arguments, tmp_path, capsys
):
    folder = tmp_path / "new" / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duration, "MEASURED_STEPS", 1)
        patch.setattr(duration, "FIRST_STEPS", 1)
        patch.setattr(owner, name, failure)
        code, errors = run(capsys, folder, *arguments, "--ema", "0.9", "--log_boxes")
    assert code == 1 and message in errors and len(errors.splitlines()) == 1
    assert not os.listdir(tmp_path)


def test_divergence_leaves_nothing(arguments, tmp_path, capsys):
    code, errors = run(capsys, tmp_path / "run", *arguments, "--learning_rate", "1e30")
    assert code == 1 and "diverged" in errors and "no checkpoint yet" in errors
    assert "Try a lower --learning_rate" in errors and len(errors.splitlines()) == 1
    assert not os.listdir(tmp_path)


def signal_in(owner, name, patch, call=1, number=signal.SIGINT):
    """Sends this process a signal at the n-th call of a function, before the function's work."""
    function, calls = getattr(owner, name), []

    def wrapped(*arguments, **keywords):
        calls.append(name)
        if len(calls) == call:
            os.kill(os.getpid(), number)
        return function(*arguments, **keywords)

    patch.setattr(owner, name, wrapped)


# For each phase: a function that is called in it, as its owner and name; the number of the call;
# and the number of epochs that are finished by then.
PHASES = {
    "reading": (accuracy, "read_test_photographs", 1, 0),
    "reading more": (training_data, "read_training_photographs", 1, 0),
    "building": (session, "make_trainer", 1, 0),
    "training": (Trainer, "run", 1, 0),
    "saving": (RunFolder, "save_state", 1, 0),
    "saving the model": (RunFolder, "save_model", 1, 1),
    "training on": (Trainer, "run", 2, 1),
    "saving again": (RunFolder, "save_state", 2, 1),
    "measuring": (accuracy, "evaluate_joints", 1, 2),
}


@pytest.mark.parametrize(
    "phase, number",
    [(phase, signal.SIGINT) for phase in PHASES]
    + [(phase, signal.SIGTERM) for phase in ("reading", "training on")],
)
def test_a_stopped_training_says_what_is_kept_and_resumes(phase, number, tmp_path, capsys):
    owner, name, call, epochs = PHASES[phase]
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        signal_in(owner, name, patch, call, number)
        code, errors = run(capsys, folder, *ARGUMENTS)
    assert code == 128 + number and len(errors.splitlines()) == 1
    if epochs:
        assert f"keeps everything up to the end of epoch {epochs} of 2" in errors
        assert not list(folder.glob(".*"))
        assert_trains(capsys, folder)
    else:
        assert "No epoch was finished, so nothing is kept" in errors and not os.listdir(tmp_path)


@pytest.fixture(params=["RLIMIT_FSIZE", "tmpfs"])
def small_disk(request, tmp_path):
    """A folder, a function that fills its disk, and a function that frees the space again."""
    if request.param == "RLIMIT_FSIZE":
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        limit = lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))  # noqa: E731
        yield tmp_path, lambda: limit(10_000), lambda: limit(hard)
        limit(hard)
        return
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here")
    filling = tmp_path / "filling"

    def fill():
        with open(filling, "wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                pass

    yield tmp_path, fill, filling.unlink
    subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_full_disk_keeps_the_last_good_state(epoch, small_disk, capsys):
    folder, fill, free = small_disk
    run_folder = RunFolder(folder / "run")
    update, calls = Trainer.update_inference, []

    def fill_and_update(self):
        calls.append(self.done)
        if len(calls) == epoch:
            fill()
        update(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "update_inference", fill_and_update)
        code, errors = run(capsys, run_folder.path, *ARGUMENTS)
    free()
    assert code == 1 and len(errors.splitlines()) == 1
    assert "File too large" in errors or "No space left" in errors
    if epoch == 1:
        assert "nothing is kept" in errors and not run_folder.path.exists()
    else:
        assert "keeps everything up to the end of epoch 1 of 2" in errors
        assert run_folder.load_state()["step"] == 2
        run_folder.load_model()
    assert_trains(capsys, run_folder.path)
    assert sorted(run_folder.curve("pck")) == [2, 4]


@pytest.mark.parametrize("name", ["on_epoch_end", "on_train_end"])
def test_a_full_disk_while_boxes_are_logged(name, tmp_path, capsys):
    def full(self, *arguments):
        raise tf.errors.ResourceExhaustedError(None, None, "events; No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BoxLogger, name, full)
        code, errors = run(capsys, tmp_path / "run", *ARGUMENTS, "--log_boxes")
    assert code == 1 and "No space left on device. " in errors and "Out of memory" not in errors
    assert "keeps everything up to the end of epoch" in errors and len(errors.splitlines()) == 1


@pytest.mark.parametrize("finished", [False, True])
def test_a_network_without_its_state_is_not_trained_anew(stopped_run, capsys, finished):
    folder = RunFolder(stopped_run)
    folder.state_path.unlink()
    if finished:
        write_json(folder.metrics_path, {"epochs": 2, "pck": 1.0})
    before = folder.model_path.read_bytes()
    code, errors = run(capsys, stopped_run, *ARGUMENTS, *(["--epochs", "3"] if finished else []))
    assert code == 1
    assert "no state.npz, from which the training would go on. Give another --run" in errors
    assert folder.model_path.read_bytes() == before


@pytest.fixture(scope="module")
def first_epoch(tmp_path_factory):
    """A run that was stopped after its first epoch."""
    folder = tmp_path_factory.mktemp("first epoch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "load", drawn_figures.load)
        signal_in(Trainer, "run", patch, call=2)
        assert command_line.run(lambda: train.main(["--run", str(folder), *ARGUMENTS])) == 130
    return folder


@pytest.fixture
def stopped_run(first_epoch, tmp_path):
    """A copy of the run of `first_epoch`, which a test may change."""
    return shutil.copytree(first_epoch, tmp_path / "run")


def test_a_state_without_scales_resumes(stopped_run, capsys):
    """Older versions did not store scales. A state without boxes is refused."""
    folder = RunFolder(stopped_run)
    state = folder.load_state()
    folder.save_state({name: v for name, v in state.items() if not name.endswith("/scale")})
    assert_trains(capsys, stopped_run)

    (stopped_run / "metrics.json").unlink()
    folder.save_state({name: v for name, v in state.items() if not name.endswith("/boxes")})
    code, errors = run(capsys, stopped_run, *ARGUMENTS)
    assert code == 1 and "another training" in errors and "boxes" in errors


def test_curves_of_a_resumed_run_have_no_gap(tmp_path, capsys):
    """The run is stopped after an epoch's curves were written and before its state is."""
    with pytest.MonkeyPatch.context() as patch:
        signal_in(RunFolder, "save_state", patch, call=2)
        run(capsys, tmp_path, *ARGUMENTS)
    assert_trains(capsys, tmp_path)
    assert sorted(RunFolder(tmp_path).curve("loss")) == [2, 4]
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["steps_per_epoch"] == 2 and np.isfinite(RunFolder(tmp_path).metrics["pck"])


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("change", ["picture", "joint", "one less"])
def test_a_run_does_not_go_on_with_other_photographs(
    split, change, stopped_run, capsys, monkeypatch
):
    def load(name, wanted, *args):
        dataset, skeleton = drawn_figures.load(name, wanted)
        if wanted != split:
            return dataset, skeleton
        changes = {
            "picture": lambda e: {**e, "image": e["image"][:, ::-1]},
            "joint": lambda e: {**e, "joints": e["joints"] + 1},
        }
        changed = dataset.map(changes[change]) if change in changes else dataset.skip(1)
        return changed, skeleton

    monkeypatch.setattr(datasets, "load", load)
    before = {path: path.read_bytes() for path in stopped_run.rglob("*") if path.is_file()}
    code, errors = run(capsys, stopped_run, *ARGUMENTS)
    assert code == 1 and f"labels of stick_figures ({split}) are not those" in errors, errors
    assert {path: path.read_bytes() for path in stopped_run.rglob("*") if path.is_file()} == before


def test_a_run_of_an_earlier_version_goes_on(stopped_run, capsys):
    """Its config has no digests of the photographs."""
    path = stopped_run / "config.json"
    config = json.loads(path.read_text())
    assert config.pop("digests").keys() == {"train", "test"}
    path.write_text(json.dumps(config))
    assert_trains(capsys, stopped_run)


def declare_length(folder, planned, finished=None):
    """Changes a run's files to those of a run of `planned` epochs, finished after `finished`."""
    run = RunFolder(folder)
    write_json(run.config_path, {**run.config, "epochs": planned})
    if finished:
        write_json(run.metrics_path, {"epochs": finished, "pck": 0.0})


def test_a_finished_run_goes_on_with_more_epochs(stopped_run, capsys):
    """The learning rate follows the schedule of the new length."""
    declare_length(stopped_run, planned=1, finished=1)
    train.main(["--run", str(stopped_run), *ARGUMENTS])
    printed = capsys.readouterr().out
    assert "Extending a run of 1 epochs to 2" in printed and "Epoch 2/2" in printed
    run = RunFolder(stopped_run)
    assert run.metrics["epochs"] == run.config["epochs"] == 2
    assert run.config["extended_from"] == [1]
    rates = run.curve("learning_rate")
    # The second of four steps, and the last one.
    assert sorted(rates) == [2, 4]
    assert rates[4] == pytest.approx(run.config["learning_rate"] * (1 + np.cos(0.75 * np.pi)) / 2)


@pytest.mark.parametrize("planned,finished,wanted,refused", [
    (1, 1, 2, False),  # Finished.
    (2, 1, 2, False),  # An extension that was interrupted.
    (2, 1, 3, True),
    (2, 1, 1, True),
    (2, 2, 1, True),
    (2, None, 3, True),  # Not finished.
])  # fmt: skip
def test_only_finished_runs_are_extended(
    planned, finished, wanted, refused, stopped_run, capsys, monkeypatch
):
    declare_length(stopped_run, planned, finished)
    monkeypatch.setattr(accuracy, "read_test_photographs", lambda *_, **__: 1 / 0)
    arguments = ["--run", str(stopped_run), *ARGUMENTS, "--epochs", str(wanted)]
    if refused:
        code, errors = run(capsys, *arguments[1:])
        assert code == 1 and f"epochs: {planned} there, {wanted} now" in errors
        return
    with pytest.raises(ZeroDivisionError):  # It is not refused: it reads the photographs.
        train.main(arguments)


def test_an_extension_states_its_schedule(stopped_run):
    config = {**RunFolder(stopped_run).config, "epochs": 4}
    said = run_length.describe_extension(config, finished=2)
    assert said.startswith("Extending a run of 2 epochs to 4. The learning rate follows")
    rate = float(re.search(r"rises to (\S+) at once", said)[1])
    # Half of the cosine is left.
    assert rate == pytest.approx(config["learning_rate"] / 2, rel=0.01)


def test_a_run_starts_from_the_weights_of_another(stopped_run, tmp_path, capsys):
    """It also takes the network's options. Other things, such as the length, are its own."""
    arguments = ["--init", str(stopped_run), "--epochs", "1", "--steps_per_epoch", "1"]
    folder = tmp_path / "next"
    train.main(["--run", str(folder), *arguments, "--learning_rate", "1e-9"])
    printed = capsys.readouterr().out
    assert re.search(rf"Starting from {stopped_run}: \d+ weights copied\.", printed)
    first, second = RunFolder(stopped_run), RunFolder(folder)
    assert second.config["width"] == first.config["width"] == 4
    weights = {v.path: v.numpy() for v in first.load_model().trainable_variables}
    for variable in second.load_model().trainable_variables:
        np.testing.assert_allclose(variable.numpy(), weights[variable.path], atol=1e-6)
    # The same command resumes it, or finds it finished.
    shutil.rmtree(stopped_run)
    train.main(["--run", str(folder), *arguments, "--learning_rate", "1e-9"])
    assert "Nothing to do" in capsys.readouterr().out


def test_predictions_on_the_same_photographs_are_logged(first_epoch):
    events = event_accumulator.EventAccumulator(
        str(first_epoch / "logs"), size_guidance={event_accumulator.TENSORS: 0}
    )
    events.Reload()
    logged = events.Tensors("predictions")
    assert [event.step for event in logged] == sorted(RunFolder(first_epoch).curve("loss"))
    width, height, *pictures = tensor_util.make_ndarray(logged[0].tensor_proto)
    image = np.asarray(Image.open(io.BytesIO(pictures[0])))
    assert image.shape == (int(height), int(width), 3) and len(pictures) == 1
    # Six photographs in two rows of three, each beside its labels.
    assert image.shape[1] > 6 * 192 and 2 * 192 < image.shape[0] < 3 * 192
