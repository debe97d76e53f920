"""`--help` of every command shows purpose, options and defaults without importing a framework."""

import importlib
import json
import os
import re
import subprocess
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


MODULES = list(commands())
# Part of the package `tf_boxconv`, whose import needs Keras.
IMPORT_KERAS = {"tf_boxconv.inspect"}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Results of each command with `--help` and with an unknown argument."""
    folder = tmp_path_factory.mktemp("empty")
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.examples.command_help", *MODULES],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        text=True,
        capture_output=True,
        check=True,
    )
    assert not process.stderr and not list(folder.iterdir())
    return json.loads(process.stdout)


@pytest.mark.parametrize("module", MODULES)
def test_help(module, results):
    answer = results[module]["--help"]
    output = answer["output"]
    assert answer["status"] == 0 and not answer["errors"]
    assert output.startswith("usage: ")
    file_name = f"{module.rpartition('.')[2]}.py"
    assert module in output.splitlines()[0] or file_name in output.splitlines()[0]
    description = output.split("\n\n")[1]
    assert re.match(r"[A-Z`].*\.", description, re.S), description
    # Every option has a help text.
    for line in re.findall(r"^  -.*(?:\n {3,}.*)*", output, re.M):
        assert len(re.split(r"\s{2,}", line.strip(), maxsplit=1)) == 2, line


@pytest.mark.parametrize("module", MODULES)
def test_defaults_are_shown_in_one_style(module, results):
    answer = results[module]["--help"]
    output = "".join(answer["output"].split())  # Lines may break anywhere, after hyphens too.
    for option, default, text in answer["defaults"]:
        assert f"(default: {default})".replace(" ", "") in output, option
        assert "default" not in text, f"{option}: the parser appends the default"


@pytest.mark.parametrize("module", sorted(set(MODULES) - IMPORT_KERAS))
def test_help_and_errors_import_no_framework(module, results):
    assert not results[module]["--help"]["frameworks"]
    assert not results[module]["--no_such_argument"]["frameworks"]


@pytest.mark.parametrize("module", MODULES)
def test_an_unknown_argument_gives_a_one_line_error(module, results):
    answer = results[module]["--no_such_argument"]
    assert answer["status"] == 2 and not answer["output"]
    assert "error: " in answer["errors"].splitlines()[-1] and "Traceback" not in answer["errors"]


def uses_command_line_run(module):
    """Whether `command_line.run` handles the errors and signals of a command."""
    path = REPOSITORY / module.replace(".", "/")
    path = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    return "    sys.exit(command_line.run(main))" in path.read_text().splitlines()


def test_all_commands_handle_errors_and_signals_alike():
    """Two commands do not import `examples`: one is run as a file, the other is installed."""
    others = {module for module in commands() if not uses_command_line_run(module)}
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
    """The readers of data sets catch the others themselves."""
    others = {kind.__name__ for kind in exceptions() if not issubclass(kind, errors.UserError)}
    assert others == {"DownloadError", "FieldError"}
