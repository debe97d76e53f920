"""Worker processes of a training on this machine, restarted if one dies."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

from examples.pose.cli import child_processes
from examples.pose.training.run_folder import RunFolder

POLL_SECONDS = 0.2


def free_ports(count: int) -> list[int]:
    """Free ports of this machine."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("localhost", 0))
        return [each.getsockname()[1] for each in sockets]


def start_workers(count: int, command: Sequence[str]) -> list[subprocess.Popen]:
    """Starts processes of one command, each with its own `TF_CONFIG`."""
    addresses = [f"localhost:{port}" for port in free_ports(count)]
    workers = []
    for index in range(count):
        task = {"type": "worker", "index": index}
        config = {"cluster": {"worker": addresses}, "task": task}
        environment = {**os.environ, "TF_CONFIG": json.dumps(config)}
        workers.append(child_processes.start(command, env=environment))
    return workers


@contextlib.contextmanager
def running(count: int, command: Sequence[str]) -> Iterator[list[subprocess.Popen]]:
    """Starts workers, and stops them when the body ends for any reason."""
    with child_processes.stopped_at_end():
        yield start_workers(count, command)


def first_failure(workers: Sequence[subprocess.Popen]) -> tuple[int, int] | None:
    """Waits until all workers have succeeded (None) or one has failed: its index and status."""
    while True:
        codes = [worker.poll() for worker in workers]
        for index, code in enumerate(codes):
            if code:
                return index, code
        if None not in codes:
            return None
        time.sleep(POLL_SECONDS)


def launch(run: RunFolder, workers: int, command: Sequence[str], max_restarts: int) -> int:
    """Runs a training in several processes until it is finished.

    Args:
        run: The run folder.
        workers: Number of processes.
        command: The command line of each process.
        max_restarts: How many restarts in a row are made without a new checkpoint.

    Returns:
        An exit status: 0, or that of the first worker to fail in the last attempt.
    """
    restarts = 0
    while True:
        before = _checkpoint(run)
        with running(workers, command) as processes:
            print(
                "Workers: " + ", ".join(f"{i} is process {p.pid}" for i, p in enumerate(processes)),
                flush=True,
            )
            failure = first_failure(processes)
        if failure is None:
            return 0
        index, code = failure
        progress = _checkpoint(run) != before
        restarts = 0 if progress else restarts + 1
        how = f"was ended by signal {-code}" if code < 0 else f"failed with exit status {code}"
        # A worker that fails without progress, for instance on its arguments, would fail again.
        hopeless = code > 0 and not progress
        if hopeless or restarts > max_restarts:
            print(f"Worker {index} {how}; not started again.", file=sys.stderr)
            return code if code > 0 else 1
        print(f"Worker {index} {how}. Starting all again from the last checkpoint.", flush=True)


def _checkpoint(run: RunFolder) -> int | None:
    """A value that changes with each checkpoint; None before the first."""
    return run.state_path.stat().st_mtime_ns if run.state_path.exists() else None
