"""Starts the worker processes of a training run on this machine, and restarts them if one fails."""

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
    """Free TCP ports of this machine."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for free_socket in sockets:
            free_socket.bind(("localhost", 0))
        return [free_socket.getsockname()[1] for free_socket in sockets]


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
    """Starts workers and stops them when the `with` block ends, also by an exception."""
    with child_processes.stopped_at_end():
        yield start_workers(count, command)


def first_failure(workers: Sequence[subprocess.Popen]) -> tuple[int, int] | None:
    """Waits until all workers have succeeded or one has failed.

    Returns:
        None, or the index and the exit status of the worker that failed. A negative status -n means
        that signal n ended it.
    """
    while True:
        statuses = [worker.poll() for worker in workers]  # None while a worker is running.
        for index, status in enumerate(statuses):
            if status:
                return index, status
        if None not in statuses:
            return None
        time.sleep(POLL_SECONDS)


def launch(run: RunFolder, workers: int, command: Sequence[str], max_restarts: int) -> int:
    """Runs a training in several processes until it finishes or fails for good.

    If a worker fails, all workers are restarted from the last checkpoint. `launch` gives up if no
    new checkpoint was written since the last start and the worker exited with an error, because it
    would fail again; or after `max_restarts` restarts in a row without a new checkpoint.

    Args:
        run: The run folder.
        workers: Number of processes.
        command: The command that each process runs.
        max_restarts: Number of restarts in a row without a new checkpoint.

    Returns:
        The exit status: 0, or the status of the failed worker (1 if a signal ended it).
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
        index, status = failure
        has_progress = _checkpoint(run) != before
        restarts = 0 if has_progress else restarts + 1
        how = (
            f"was ended by signal {-status}" if status < 0 else f"failed with exit status {status}"
        )
        # With a wrong argument, for example, the worker would fail in the same way again.
        would_fail_again = status > 0 and not has_progress
        if would_fail_again or restarts > max_restarts:
            print(f"Worker {index} {how}; not started again.", file=sys.stderr)
            return status if status > 0 else 1
        print(f"Worker {index} {how}. Starting all again from the last checkpoint.", flush=True)


def _checkpoint(run: RunFolder) -> int | None:
    """Modification time of the checkpoint, to tell whether a new one was written."""
    return run.state_path.stat().st_mtime_ns if run.state_path.exists() else None
