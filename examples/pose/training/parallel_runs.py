"""Trains several runs in parallel, each on its own share of the CPU cores."""

import concurrent.futures
import os
import queue
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from examples.pose.cli import child_processes, progress
from examples.pose.training.run_folder import RunFolderError
from examples.pose.training.studies import Run


def make_runs(runs: Sequence[Run], common: Sequence[str], jobs: int) -> None:
    """Trains `runs`, `jobs` at a time, each on its own share of the CPU cores.

    Args:
        runs: The runs. The output of each goes to `train.log` in its folder.
        common: Arguments of `train` for all of them.
        jobs: Number of runs at a time.

    Raises:
        RunFolderError: Runs failed; the message names them and quotes the end of the first one's
            output.
    """
    cores = sorted(os.sched_getaffinity(0))
    shares: queue.SimpleQueue[set[int]] = queue.SimpleQueue()
    for job in range(jobs):
        shares.put(set(cores[job::jobs]) or set(cores))

    stopping = threading.Event()

    def make(run: Run) -> str | None:
        share = shares.get()
        log = run.folder / "train.log"
        try:
            if stopping.is_set():
                return None
            training = _start_run(run.command(common), log, share)
            if stopping.is_set():  # `stop_all` may have missed this process.
                training.kill()
            return None if training.wait() == 0 else log.read_text(encoding="utf-8")[-2000:]
        finally:
            shares.put(share)

    failures = {}
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        made = zip(runs, pool.map(make, runs), strict=True)
        try:
            for run, failure in progress.track(made, "training, runs", total=len(runs)):
                if failure is not None:
                    failures[str(run.folder)] = failure
        except BaseException:  # Also a `KeyboardInterrupt`: no training outlives this command.
            stopping.set()
            child_processes.stop_all()
            raise
    if failures:
        names = ", ".join(failures)
        raise RunFolderError(
            f"{len(failures)} runs failed: {names}\n{next(iter(failures.values()))}"
        )


def _start_run(command: Sequence[str], log: Path, cores: set[int]) -> subprocess.Popen:
    """Starts a training process that prints to the file `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a", encoding="utf-8") as output:
        process = child_processes.start(command, stdout=output, stderr=subprocess.STDOUT)
    # Early enough: TensorFlow counts the cores when it starts its threads, seconds from now.
    os.sched_setaffinity(process.pid, cores)
    return process
