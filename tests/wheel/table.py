"""Installs a wheel in environments, checks it there, uninstalls it and prints a table.

    python -m tests.wheel.table WHEEL ENVIRONMENT...

An environment is a folder with a virtual environment `.venv`, which has one framework. Its name
begins with the backend of Keras, as in `tensorflow-2.16`. The checks find no compiler on the PATH.
This program needs no packages.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = ("python", "backend", "framework", "keras", "jit", "digest")


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


def check(wheel: Path, environment: Path, folder: Path) -> dict:
    """Installs, checks and uninstalls the wheel; returns the answer of check.py."""
    pip = ("-m", "pip", "--quiet", "--disable-pip-version-check")
    expect(run(environment, folder, *pip, "install", "pytest"))  # tests/backend.py imports it
    expect(run(environment, folder, *pip, "install", "--force-reinstall", "--no-deps", str(wheel)))
    expect(run(environment, folder, *pip, "install", str(wheel)))  # what it depends on
    answer = json.loads(
        expect(run(environment, folder, "-m", "tests.wheel.check")).splitlines()[-1]
    )
    expect(run(environment, folder, *pip, "uninstall", "--yes", "tf_boxconv"))
    left = list(site_packages(environment, folder).glob("tf_boxconv*"))
    if left:
        sys.exit(f"uninstalling left {left}")
    return answer


def main() -> None:
    """Prints a line for each environment. All versions of a framework must give the same bits."""
    wheel, *environments = map(Path, sys.argv[1:])
    digests = {}
    print(" | ".join(["", *COLUMNS, ""]).strip(), flush=True)
    print("|" + " --- |" * len(COLUMNS))
    with tempfile.TemporaryDirectory() as folder:
        # Only the tests, so that `import tf_boxconv` finds the installed package.
        (Path(folder) / "tests").symlink_to(ROOT / "tests")
        for environment in environments:
            answer = check(wheel.resolve(), environment, Path(folder))
            digests.setdefault(answer["backend"], set()).add(answer["digest"])
            print(" | ".join(["", *(str(answer[c]) for c in COLUMNS), ""]).strip(), flush=True)
    for backend, different in digests.items():
        if len(different) > 1:
            sys.exit(f"the versions of {backend} give different bits")


if __name__ == "__main__":
    main()
