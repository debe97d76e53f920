"""Handles Ctrl-C and SIGTERM: cleans up, says which results were kept, exits with 130 or 143.

The first signal raises `Stopped` in the main thread, and the cleanup runs while this exception
propagates. If the same signal comes a second time, the process ends at once. A thread watches for
that, because Python runs signal handlers in the main thread only, and not while that thread is
inside TensorFlow or XLA.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

from examples.pose.cli import child_processes

SIGNALS = (signal.SIGINT, signal.SIGTERM)
END = b"\0"  # Ends the watching thread. No signal has the number 0.


class Stopped(KeyboardInterrupt):
    """The process was asked to end.

    The message says which results were kept. It is empty until `explain_stop`, or other code that
    catches and raises the exception again, sets `args`.

    Attributes:
        exit_status: 128 plus the number of the signal, as shells count.
    """

    def __init__(self, signal_number: int):
        super().__init__()
        self.exit_status = 128 + signal_number


@contextlib.contextmanager
def explain_stop(describe: Callable[[], str]) -> Iterator[None]:
    """Gives a `KeyboardInterrupt` of the `with` block the message `describe()` if it has none."""
    try:
        yield
    except KeyboardInterrupt as stop:
        if not stop.args:
            stop.args = (describe(),)
        raise


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Turns the first Ctrl-C or SIGTERM in the `with` block into `Stopped`. Main thread only."""
    stopping = threading.Event()

    def stop(number, frame):
        if not stopping.is_set():
            stopping.set()
            raise Stopped(number)

    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    handlers = {number: signal.signal(number, stop) for number in SIGNALS}
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watcher = threading.Thread(target=_end_at_second_signal, args=(reader,), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        was_stopped = stopping.is_set()
        stopping.set()  # From here on, the handler `stop` does nothing.
        signal.set_wakeup_fd(wakeup)
        os.write(writer, END)
        watcher.join()
        os.close(writer)
        os.close(reader)
        for number, handler in handlers.items():
            # After a stop, another signal ends the process at once, even while Python shuts down.
            signal.signal(number, signal.SIG_DFL if was_stopped else handler)


def watch_imports() -> None:
    """Reports Ctrl-C in one line, not by a traceback, while a command imports TensorFlow."""

    def excepthook(kind, error, traceback):
        if not issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, traceback)
            return
        print("\nstopped.", file=sys.stderr, flush=True)
        os._exit(128 + signal.SIGINT)

    sys.excepthook = excepthook


def _end_at_second_signal(reader: int) -> None:
    """Reads signal numbers from a pipe until `END`. Ends the process if a signal repeats."""
    seen = set()
    while (number := os.read(reader, 1)) != END:
        if number in seen:
            child_processes.kill_all()
            os._exit(128 + number[0])
        if number[0] in SIGNALS:
            seen.add(number)
