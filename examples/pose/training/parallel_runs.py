"""Trains several runs at a time, each on its share of the processors."""

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
    """Trains the runs, `jobs` at a time, each on its share of the processors.

    Raises:
        RunFolderError: Runs failed. The message names them and quotes the end of the first log.
    """
    processors = sorted(os.sched_getaffinity(0))
    shares: queue.SimpleQueue[set[int]] = queue.SimpleQueue()
    for job in range(jobs):
        shares.put(set(processors[job::jobs]) or set(processors))

    ends = threading.Event()

    def make(run: Run) -> str | None:
        share = shares.get()
        log = run.folder / "train.log"
        try:
            if ends.is_set():
                return None
            training = _start_run(run.command(common), log, share)
            if ends.is_set():  # A signal arrived meanwhile.
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
        except BaseException:  # A signal: stop the trainings too.
            ends.set()
            child_processes.stop_all()
            raise
    if failures:
        names = ", ".join(failures)
        raise RunFolderError(
            f"{len(failures)} runs failed: {names}\n{next(iter(failures.values()))}"
        )


def _start_run(command: Sequence[str], log: Path, processors: set[int]) -> subprocess.Popen:
    """Starts a training process that prints to a log file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a", encoding="utf-8") as output:
        process = child_processes.start(command, stdout=output, stderr=subprocess.STDOUT)
    # TensorFlow counts its processors later, when it is imported.
    os.sched_setaffinity(process.pid, processors)
    return process
