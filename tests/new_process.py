"""Runs Python code in new processes, without importing the framework in each of them.

Importing TensorFlow takes seconds. The fork server of `multiprocessing` imports it once, and each
process is a fork of the server. The server has imported nothing of this package, and TensorFlow has
not been used in it, so each process loads libraries and chooses devices by itself.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path


def run_python(
    code: str,
    *arguments,
    cwd: str | Path | None = None,
    path: str | Path | None = None,
    env: dict[str, str] | None = None,
) -> subprocess.CompletedProcess:
    """Runs code as `python -c` does. Returns its exit status, output and errors.

    Args:
        code: Python code.
        *arguments: The command line, converted to strings.
        cwd: The working directory of the process, by default that of this process.
        path: A folder in which modules are looked up first.
        env: The environment variables of the process, by default those of this process.
    """
    import keras

    context = multiprocessing.get_context("forkserver")
    # The other backends start threads when they are imported, which a fork would not have.
    context.set_forkserver_preload(["keras"] if keras.config.backend() == "tensorflow" else [])
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("output", "errors")]
        settings = {"argv": ["-c", *map(str, arguments)], "path": path, "cwd": cwd or Path.cwd()}
        process = context.Process(
            target=_run, args=(code, files, settings, dict(os.environ if env is None else env))
        )
        process.start()
        process.join()
        output, errors = (file.read_text() if file.exists() else "" for file in files)
    return subprocess.CompletedProcess(code, process.exitcode, output, errors)


def _run(code, files, settings, env):
    """Runs code in the process of its own. `multiprocessing` prints the traceback of an error."""
    for number, file in enumerate(files, 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(settings["cwd"])
    sys.argv = settings["argv"]
    sys.path.insert(0, "")
    if settings["path"]:
        sys.path.insert(0, str(settings["path"]))
    assert "tf_boxconv" not in sys.modules
    exec(compile(code, "<code>", "exec"), {"__name__": "__main__"})
