"""Child processes that must not outlive the command that started them."""

import contextlib
import subprocess
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence

# How long a process that was asked to end may take before it is killed.
PATIENCE_SECONDS = 5.0

_children: "weakref.WeakSet[subprocess.Popen]" = weakref.WeakSet()


def start(command: Sequence[str], **options) -> subprocess.Popen:
    """Starts a process that `kill_all` knows. The arguments are those of `subprocess.Popen`."""
    process = subprocess.Popen(command, **options)
    _children.add(process)
    return process


def stop(processes: Iterable[subprocess.Popen]) -> None:
    """Asks processes to end, waits for them, and kills those that take too long."""
    processes = list(processes)
    try:
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + PATIENCE_SECONDS
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
    finally:
        for process in processes:
            process.kill()
            process.wait()


@contextlib.contextmanager
def stopped_at_end() -> Iterator[None]:
    """Stops all processes that `start` started when the body ends, however it ends."""
    try:
        yield
    finally:
        stop_all()


def stop_all() -> None:
    """Stops all processes that `start` started."""
    stop(_children)


def kill_all() -> None:
    """Kills every process that `start` started and that is still running."""
    for process in list(_children):
        process.kill()
