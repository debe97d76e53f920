"""Child processes that must not outlive the command that started them."""

import contextlib
import subprocess
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence

# `stop` kills processes that have not ended after this time.
PATIENCE_SECONDS = 5.0

_children: "weakref.WeakSet[subprocess.Popen]" = weakref.WeakSet()


def start(command: Sequence[str], **options) -> subprocess.Popen:
    """Starts a process that `stop_all` and `kill_all` can end. Arguments as of `Popen`."""
    process = subprocess.Popen(command, **options)
    _children.add(process)
    return process


def stop(processes: Iterable[subprocess.Popen]) -> None:
    """Asks processes to end (SIGTERM), waits, and kills those that take too long."""
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
    """Stops all processes that `start` started when the `with` block ends, also by an exception."""
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
