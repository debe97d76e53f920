"""`--help` of every command: what it does, its arguments, and nothing else happens."""

import importlib
import re
import runpy
import sys
from pathlib import Path

import pytest

from examples.pose.cli import errors

REPOSITORY = Path(__file__).parents[2]
FOLDERS = ("examples", "benchmarks", "tf_boxconv")


def commands():
    """Every module that can be run."""
    for folder in FOLDERS:
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            if not path.stem.endswith("_test") and "\nif __name__ ==" in path.read_text():
                name = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
                yield name.removesuffix(".__main__")


def run(module, monkeypatch, capsys, *arguments):
    """Runs a module as `python -m` does; returns its exit status and what it printed."""
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    with pytest.raises(SystemExit) as raised:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    return raised.value.code, *capsys.readouterr()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("module", commands())
def test_help(module, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    status, output, errors = run(module, monkeypatch, capsys, "--help")
    assert status == 0 and not errors
    assert output.startswith("usage: ")
    file_name = f"{module.rpartition('.')[2]}.py"
    assert module in output.splitlines()[0] or file_name in output.splitlines()[0]
    description = output.split("\n\n")[1]
    assert re.match(r"[A-Z`].*\.", description, re.S), description
    # Every option says what it is.
    for line in re.findall(r"^  -.*(?:\n {3,}.*)*", output, re.M):
        assert len(re.split(r"\s{2,}", line.strip(), maxsplit=1)) == 2, line
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("module", commands())
def test_an_unknown_argument_is_one_line(module, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    status, output, errors = run(module, monkeypatch, capsys, "--no_such_argument")
    assert status == 2 and not output
    assert "error: " in errors.splitlines()[-1] and "Traceback" not in errors
    assert not list(tmp_path.iterdir())


def handled(module):
    """Whether a module leaves errors and signals to `command_line.run`."""
    path = REPOSITORY / module.replace(".", "/")
    path = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    return "    sys.exit(command_line.run(main))" in path.read_text().splitlines()


def test_all_commands_have_one_rule_for_errors_and_signals():
    """Except two that do without the package `examples`: one is run as a file, one is installed."""
    others = {module for module in commands() if not handled(module)}
    assert others == {"examples.serving.patch_model_server", "tf_boxconv.inspect"}


def exceptions():
    """Every exception that the examples define."""
    for path in sorted((REPOSITORY / "examples").rglob("*.py")):
        if re.search(r"^class \w+Error\(", path.read_text(), re.M):
            name = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
            for value in vars(importlib.import_module(name)).values():
                is_error = isinstance(value, type) and issubclass(value, Exception)
                if is_error and value.__module__ == name:
                    yield value


def test_exceptions_for_the_user_are_user_errors():
    """All but those that a data set's reader catches itself."""
    others = {kind.__name__ for kind in exceptions() if not issubclass(kind, errors.UserError)}
    assert others == {"DownloadError", "FieldError"}
