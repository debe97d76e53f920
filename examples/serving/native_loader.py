"""Builds the C++ programs in `loader` against the installed TensorFlow, and runs them."""

import contextlib
import json
import math
import os
import shlex
import subprocess
from pathlib import Path

from examples.pose.cli import child_processes, progress
from examples.pose.cli.errors import UserError

SOURCES = Path(__file__).parent / "loader"
# How a program loads the model: by `tensorflow::LoadSavedModel`, as TensorFlow ModelServer does, or
# by TensorFlow's C API.
APIS = ("saved_model", "c_api")
# Largest allowed error, relative to the largest value of an answer (see tally.cc).
TOLERANCE = 1e-5


class LoaderError(UserError):
    """A program could not be built, or failed; the message says why."""


def build(folder, apis=APIS) -> dict[str, Path]:
    """Compiles the programs into a folder.

    Returns:
        The path of the program for each of `apis`.

    Raises:
        LoaderError: CMake or the compiler failed.
    """
    import tensorflow as tf

    targets = [f"{api}_loader" for api in apis]
    flags = shlex.join(tf.sysconfig.get_compile_flags())
    _run_tool(
        *("cmake", "-S", SOURCES, "-B", folder),
        *(f"-DTF_COMPILE_FLAGS={flags}", f"-DTF_LIBRARIES={tf.sysconfig.get_lib()}"),
    )
    _run_tool("cmake", "--build", folder, "--target", *targets)
    return {api: Path(folder) / target for api, target in zip(apis, targets, strict=True)}


def run(program, saved_model, requests, threads: int, seconds: float = 0) -> dict:
    """Runs a program that loads a SavedModel and sends it requests from several threads.

    Args:
        program: A program made by `build`.
        saved_model: Folder of the SavedModel.
        requests: Folder written by `request_files.write`.
        threads: Number of threads.
        seconds: Duration. With 0, each thread sends every request once.

    Returns:
        The program's report:

        - `requests`, `answered`, `refused`, `wrongly_answered`, `wrongly_refused`: counts.
        - `largest_difference`: largest error, relative to the largest value of its answer.
        - `answer_ms`, `refusal_ms`: median and 99th percentile of the time of answers and errors.
        - `memory_mib`: resident memory after the first round, every second, and at the end.
        - `problems`: messages about wrong answers and wrong refusals.

    Raises:
        LoaderError: The program failed.
    """
    import tf_boxconv

    arguments = [tf_boxconv.library_path(), saved_model, requests, threads, seconds, TOLERANCE]
    with child_processes.stopped_at_end():
        process = child_processes.start(
            [str(program), *map(str, arguments)],
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        output, errors = _communicate(process, seconds)
    if process.returncode:
        # The program's own message comes last, after messages that TensorFlow logged.
        _, start, rest = errors.rpartition("\nerror: ")
        message = (start + rest).lstrip() if start else errors[-3000:]
        raise LoaderError(
            f"{Path(program).name} ended with exit code {process.returncode}: {message}"
        )
    return json.loads(output.splitlines()[-1])


def _communicate(process: subprocess.Popen, seconds: float) -> tuple[str, str]:
    """Waits for a program that sends requests for `seconds`; returns its output and errors."""
    for _ in progress.track(range(math.ceil(seconds)), "sending requests, seconds"):
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=1)
    return process.communicate()


def _run_tool(*command) -> None:
    try:
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise LoaderError(f"{command[0]} is not installed.") from None
    if done.returncode:
        raise LoaderError(f"{command[0]} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
