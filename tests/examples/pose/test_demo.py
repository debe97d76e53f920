"""Tests of `demo`: the commands that it runs, and the files that it names."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from examples.pose import demo
from examples.pose.cli import child_processes
from examples.pose.cli.errors import UserError


@pytest.fixture
def commands(monkeypatch):
    """Records the commands of the demo instead of running them.

    Returns:
        The recorded commands, and a dict whose entry `fail` is the module of a command to fail.
    """
    recorded = []
    settings = {"fail": None}

    def start(command):
        recorded.append(command[1:])
        status = 3 if command[2] == settings["fail"] else 0
        return subprocess.Popen([sys.executable, "-c", f"raise SystemExit({status})"])

    monkeypatch.setattr(child_processes, "start", start)
    return recorded, settings


@pytest.mark.parametrize("short", [False, True])
def test_runs_commands_that_exist_and_names_their_files(commands, tmp_path, capsys, short):
    run = tmp_path / "demo"
    demo.main(["--run", str(run), *(["--short"] if short else [])])
    recorded, _ = commands
    modules = [command[1] for command in recorded]
    assert modules == [f"examples.pose.{m}" for m in ("train", "evaluate", "predict", "export")]
    for _, module, *_arguments in recorded:
        assert importlib.util.find_spec(module), module
    printed = capsys.readouterr().out
    for name in ("predictions.png", "model.keras", "metrics.json", "logs", "exported/pose/1"):
        assert str(run / name) in printed


def test_stops_at_the_command_that_fails(commands, tmp_path, capsys):
    recorded, settings = commands
    settings["fail"] = "examples.pose.evaluate"
    with pytest.raises(UserError, match=r"evaluate.* failed with exit status 3"):
        demo.main(["--run", str(tmp_path)])
    assert len(recorded) == 2
    assert "Done" not in capsys.readouterr().out


def test_everything_is_written_in_the_run_folder():
    run = Path("somewhere")
    for _, arguments in demo.demo_steps(run, short=False):
        assert str(run) in [str(path) for a in arguments for path in [Path(a), *Path(a).parents]]
