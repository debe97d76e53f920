"""`make gpu-check`: checks results, runs compute-sanitizer and measures bandwidths on a GPU."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import command_line
from benchmarks.gpu import bandwidth
from benchmarks.gpu.device import find_device
from benchmarks.gpu.library import GpuError, Library, build, find_nvcc
from tests.gpu.kernels import NOT_ALL_RUN

TESTS = [sys.executable, "-m", "tests.gpu.kernels"]
TOOLS = ("memcheck", "racecheck", "initcheck")
TOOLS_SECONDS = 180  # for all tools, which run in parallel
TOOL_FOUND_ERRORS = 9
TESTS_SECONDS = 240


def find_sanitizer() -> str | None:
    """Finds compute-sanitizer on the `PATH` or in nvcc's folder."""
    cuda = Path(find_nvcc()).resolve().parents[1]
    candidates = [shutil.which("compute-sanitizer"), cuda / "bin" / "compute-sanitizer"]
    candidates.append(cuda / "compute-sanitizer" / "compute-sanitizer")
    return next((str(path) for path in candidates if path and Path(path).exists()), None)


def sanitize() -> str:
    """Runs a few problems under compute-sanitizer; returns "clean", "ERRORS" or "NOT run"."""
    sanitizer = find_sanitizer()
    if sanitizer is None:
        print("compute-sanitizer is not installed: NOT run")
        return "NOT run"
    verdicts = set()
    with tempfile.TemporaryDirectory() as folder:
        started = {tool: _start(sanitizer, tool, Path(folder) / tool) for tool in TOOLS}
        deadline = time.monotonic() + TOOLS_SECONDS
        for tool, process in started.items():
            code = _wait(process, deadline - time.monotonic())
            verdict = {0: "clean", TOOL_FOUND_ERRORS: "ERRORS"}.get(code, "NOT run")
            verdicts.add(verdict)
            why = f", not finished in {TOOLS_SECONDS} s" if code is None else ""
            print(f"compute-sanitizer {tool}: {verdict}{why}", flush=True)
            if code:
                print((Path(folder) / tool).read_text()[-3000:])
    return next(v for v in ("ERRORS", "NOT run", "clean") if v in verdicts)


def _start(sanitizer: str, tool: str, log: Path) -> subprocess.Popen:
    command = [sanitizer, "--tool", tool, "--error-exitcode", str(TOOL_FOUND_ERRORS)]
    command += ["--kernel-name", "kns=boxconv", *TESTS, "--problems", "4", "--brief"]
    with open(log, "w") as output:
        # In a process group of its own, so that `_wait` can kill the tool and its tests together.
        return subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)


def _wait(process: subprocess.Popen, seconds: float) -> int | None:
    """Returns the exit status, or None if the process took too long and was killed."""
    try:
        return process.wait(max(seconds, 0))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None


def test() -> str:
    """Compares results with the reference; returns "right", "WRONG" or "NOT all checked"."""
    with subprocess.Popen([*TESTS, "--problems", "60"], start_new_session=True) as process:
        code = _wait(process, TESTS_SECONDS)
    if code is None:
        print(f"the tests were not finished in {TESTS_SECONDS} s", file=sys.stderr)
    return {0: "right", NOT_ALL_RUN: "NOT all checked"}.get(code, "WRONG")


def main(argv: list[str] | None = None) -> int:
    """Runs everything. Returns 0 if results are right, nothing was skipped and budgets are kept."""
    command_line.make_parser("gpu", __doc__).parse_args(argv)
    start = time.time()
    try:
        device = find_device()
        print(f"GPU: {device.name}\nnvcc: {find_nvcc()}", flush=True)
        library = Library(build(device.architecture), device)
    except GpuError as error:
        print(f"gpu-check: {error}; nothing was checked", file=sys.stderr)
        return 2
    results = test()
    sanitized = sanitize()
    bandwidth.report_integral_images(device, library)
    kept = [bandwidth.report(device, library), bandwidth.report_rivals(device, library)]
    budgets = "MISSED" if False in kept else "NOT all measured" if None in kept else "kept"
    print(
        f"\nresults {results}, compute-sanitizer {sanitized}, budgets {budgets}, "
        f"{time.time() - start:.0f} s"
    )
    return 0 if (results, sanitized, budgets) == ("right", "clean", "kept") else 1


if __name__ == "__main__":
    sys.exit(command_line.run(main))
