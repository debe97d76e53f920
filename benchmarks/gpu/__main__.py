"""`make gpu-check`: checks results, runs compute-sanitizer and measures bandwidths on a GPU.

Needs nvcc and NumPy. Each stage is a process of its own with a time limit: a failure, even one
after which the GPU cannot be used by its process, does not stop the other stages.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import command_line
from benchmarks.gpu.device import Gpu
from benchmarks.gpu.library import GpuError, build, find_nvcc

PYTHON = [sys.executable, "-u", "-m"]
TESTS = [*PYTHON, "tests.gpu.kernels"]
NCU_SECTIONS = ("SpeedOfLight", "WarpStateStats", "MemoryWorkloadAnalysis", "SchedulerStats")


@dataclasses.dataclass(frozen=True)
class Stage:
    """A command, and the seconds after which it is killed."""

    name: str
    command: list[str] | None  # None: its tool is not installed
    seconds: int


def find_tool(name: str) -> str | None:
    """Finds a tool of CUDA on the `PATH` or in nvcc's folder."""
    cuda = Path(find_nvcc()).resolve().parents[1]
    candidates = [shutil.which(name), cuda / "bin" / name, cuda / name / name]
    return next((str(path) for path in candidates if path and Path(path).is_file()), None)


def sanitizer_stage(sanitizer: str | None, tool: str) -> Stage:
    """Returns the stage that runs small problems under a tool of compute-sanitizer."""
    command = [sanitizer, "--tool", tool, "--error-exitcode", "9", "--kernel-name", "kns=boxconv"]
    command += [*TESTS, "--brief", "--problems", "4"]
    return Stage(tool, command if sanitizer else None, 150)


def profile_stage(ncu: str | None) -> Stage:
    """Returns the stage that profiles the main kernels with Nsight Compute."""
    sections = [argument for name in NCU_SECTIONS for argument in ("--section", name)]
    command = [ncu, "--kernel-name", "regex:slide_lines", "--launch-count", "12", *sections]
    return Stage("profile", [*command, *PYTHON, "benchmarks.gpu.profile"] if ncu else None, 60)


def groups_of_stages(sanitizer: str | None, ncu: str | None) -> list[list[Stage]]:
    """Returns the stages in order. Those of a group run at the same time.

    `sanitizer` and `ncu` are the paths of the tools, or None.
    """
    bandwidth = [*PYTHON, "benchmarks.gpu.bandwidth"]
    return [
        [Stage("smoke", [*TESTS, "--smoke"], 60)],
        [Stage("bandwidth", bandwidth, 120)],
        [profile_stage(ncu)],
        [
            sanitizer_stage(sanitizer, "racecheck"),
            sanitizer_stage(sanitizer, "synccheck"),
            Stage("tests", TESTS, 150),
            sanitizer_stage(sanitizer, "memcheck"),
            sanitizer_stage(sanitizer, "initcheck"),
        ],
        [
            Stage("tensorflow", [*PYTHON, "tests.gpu.tensorflow_kernels"], 60),
            Stage("rivals", [*bandwidth, "--rivals"], 60),
        ],
    ]


def run_group(stages: list[Stage]) -> dict[str, str]:
    """Runs stages at the same time; returns their verdicts.

    A single stage prints as it goes, several print one after the other.
    """
    verdicts, running = {}, []
    with tempfile.TemporaryDirectory() as folder:
        for stage in stages:
            if stage.command is None:
                verdicts[stage.name] = "NOT run: the tool is not installed"
                continue
            log = Path(folder) / stage.name
            output = None if len(stages) == 1 else log.open("w")
            # In a process group of its own, so that a tool is killed with the process it watches.
            process = subprocess.Popen(
                stage.command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
            running.append((stage, process, log, time.monotonic()))
        for stage, process, log, start in running:
            code = wait(process, stage.seconds - (time.monotonic() - start))
            verdict = "ok" if code == 0 else f"FAILED, exit status {code}"
            verdicts[stage.name] = (
                verdict if code is not None else f"KILLED after {stage.seconds} s"
            )
            if log.exists():
                print(f"\n--- {stage.name}\n{log.read_text(errors='replace')[-20000:]}", flush=True)
    for name, verdict in verdicts.items():
        print(f"=== {name}: {verdict}", flush=True)
    return verdicts


def wait(process: subprocess.Popen, seconds: float) -> int | None:
    """Returns the exit status, or None if the process took too long and was killed."""
    try:
        return process.wait(max(seconds, 0))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None


def main(argv: list[str] | None = None) -> int:
    """Runs everything. Returns 0 if no stage failed."""
    command_line.make_parser("gpu", __doc__).parse_args(argv)
    start = time.monotonic()
    try:
        device = Gpu()
        print(f"GPU: {device.name}, {device.architecture}\nnvcc: {find_nvcc()}", flush=True)
        build(device.architecture)
    except GpuError as error:
        print(f"gpu-check: {error}; nothing was checked", file=sys.stderr)
        return 2
    print(f"=== build: ok, {time.monotonic() - start:.0f} s", flush=True)
    verdicts = {}
    for stages in groups_of_stages(find_tool("compute-sanitizer"), find_tool("ncu")):
        verdicts.update(run_group(stages))
        print(f"    {time.monotonic() - start:.0f} s", flush=True)
    print("\n" + "\n".join(f"{name}: {verdict}" for name, verdict in verdicts.items()))
    bad = [v for v in verdicts.values() if v.startswith(("FAILED", "KILLED"))]
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
