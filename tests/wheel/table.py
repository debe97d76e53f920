"""Installs a wheel in environments, checks it there, uninstalls it and prints a table.

    python -m tests.wheel.table WHEEL ENVIRONMENT... [--tests FILE_OR_FOLDER...]

An environment is a folder with a virtual environment `.venv`, which has one framework. Its name
begins with the backend of Keras, as in `tensorflow-2.16`. The checks find no compiler on the PATH.
With `--tests` pytest runs these tests in each environment as well, and the table counts them. This
program needs no packages.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = ("python", "backend", "framework", "keras", "jit", "digest")
COUNTS = ("passed", "skipped", "failed")


def run(environment: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Runs Python in an environment, whose programs are the only ones on the PATH."""
    python = (environment / ".venv" / "bin" / "python").absolute()
    backend = environment.name.split("-")[0]
    variables = {
        **{k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "CXX", "CC")},
        "PATH": str(python.parent),
        "KERAS_BACKEND": backend,
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    return subprocess.run(
        [python, *arguments], cwd=folder, env=variables, capture_output=True, text=True
    )


def expect(done: subprocess.CompletedProcess) -> str:
    """Returns the output of a command that must succeed."""
    if done.returncode:
        sys.exit(f"{done.args} failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def site_packages(environment: Path, folder: Path) -> Path:
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(expect(run(environment, folder, "-c", code)).strip())


def copy_tests(folder: Path) -> None:
    """Copies the tests and what they read, so that `import tf_boxconv` finds the installed one.

    Links would not do: the tests start processes in the folder that their files are in.
    """
    for name in ("tests", "examples/pose/pretrained"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)  # the settings of pytest


def run_tests(environment: Path, folder: Path, tests: list[str]) -> dict[str, int]:
    """Runs tests with pytest, and returns how many passed, were skipped and failed."""
    file = folder / "results.xml"
    file.unlink(missing_ok=True)
    arguments = ("-m", "pytest", "-q", "-m", "not long", f"--junitxml={file}", *tests)
    done = run(environment, folder, *arguments)
    if done.returncode not in (0, 1):  # 1 means that tests failed
        expect(done)
    if done.returncode:
        print(done.stdout[-8000:], file=sys.stderr)
    suite = next(xml.etree.ElementTree.parse(file).iter("testsuite"))
    skipped, failed = int(suite.get("skipped")), int(suite.get("failures"))
    failed += int(suite.get("errors"))
    passed = int(suite.get("tests")) - skipped - failed
    return {"passed": passed, "skipped": skipped, "failed": failed}


def check(wheel: Path, environment: Path, folder: Path, tests: list[str]) -> dict:
    """Installs, checks and uninstalls the wheel; returns the answer of check.py, and the counts."""
    pip = ("-m", "pip", "--quiet", "--disable-pip-version-check")
    expect(run(environment, folder, *pip, "install", "pytest", "pytest-timeout"))
    expect(run(environment, folder, *pip, "install", "--force-reinstall", "--no-deps", str(wheel)))
    expect(run(environment, folder, *pip, "install", str(wheel)))  # what it depends on
    answer = json.loads(
        expect(run(environment, folder, "-m", "tests.wheel.check")).splitlines()[-1]
    )
    if tests:
        answer.update(run_tests(environment, folder, tests))
    expect(run(environment, folder, *pip, "uninstall", "--yes", "tf_boxconv"))
    left = list(site_packages(environment, folder).glob("tf_boxconv*"))
    if left:
        sys.exit(f"uninstalling left {left}")
    return answer


def main() -> None:
    """Prints a line for each environment. All versions of a framework must give the same bits."""
    parser = argparse.ArgumentParser()
    parser.add_argument("wheel", type=Path)
    parser.add_argument("environments", type=Path, nargs="+")
    parser.add_argument("--tests", nargs="*", default=[])
    arguments = parser.parse_args()
    columns = COLUMNS + COUNTS * bool(arguments.tests)
    digests, failed = {}, 0
    print(" | ".join(["", *columns, ""]).strip(), flush=True)
    print("|" + " --- |" * len(columns))
    with tempfile.TemporaryDirectory() as folder:
        copy_tests(Path(folder))
        for environment in arguments.environments:
            answer = check(arguments.wheel.resolve(), environment, Path(folder), arguments.tests)
            digests.setdefault(answer["backend"], set()).add(answer["digest"])
            failed += answer.get("failed", 0)
            print(" | ".join(["", *(str(answer[c]) for c in columns), ""]).strip(), flush=True)
    for backend, different in digests.items():
        if len(different) > 1:
            sys.exit(f"the versions of {backend} give different bits")
    if failed:
        sys.exit(f"{failed} tests failed")


if __name__ == "__main__":
    main()
