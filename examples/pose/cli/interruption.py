"""Ctrl-C and SIGTERM: unwind once, say what was kept, exit with 130 or 143.

The first signal raises `Stopped` in the main thread. Later ones do not disturb the cleanup that it
started, except that the same signal given twice ends the process at once. A thread watches for
that, because Python's own handlers wait while the main thread is inside TensorFlow or XLA.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

from examples.pose.cli import child_processes

SIGNALS = (signal.SIGINT, signal.SIGTERM)
END = b"\0"  # Tells the thread to end; no signal has the number 0.


class Stopped(KeyboardInterrupt):
    """The process was asked to end. `str()` says what was kept, once somebody has said so.

    Attributes:
        exit_status: 128 plus the number of the signal, as shells count.
    """

    def __init__(self, signal_number: int):
        super().__init__()
        self.exit_status = 128 + signal_number


@contextlib.contextmanager
def explain_stop(describe: Callable[[], str]) -> Iterator[None]:
    """Gives a stop within the body a message, unless something further inside gave it one."""
    try:
        yield
    except KeyboardInterrupt as stop:
        if not stop.args:
            stop.args = (describe(),)
        raise


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Turns the first Ctrl-C or SIGTERM within the body into `Stopped`. Main thread only."""
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
        stopping.set()  # Nothing is left to be stopped.
        signal.set_wakeup_fd(wakeup)
        os.write(writer, END)
        watcher.join()
        os.close(writer)
        os.close(reader)
        for number, handler in handlers.items():
            # After a stop, another signal need not wait until the interpreter has gone.
            signal.signal(number, signal.SIG_DFL if was_stopped else handler)


def watch_imports() -> None:
    """Lets Ctrl-C end a command with one line while it is still importing TensorFlow."""

    def excepthook(kind, error, traceback):
        if not issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, traceback)
            return
        print("\nstopped.", file=sys.stderr, flush=True)
        os._exit(128 + signal.SIGINT)

    sys.excepthook = excepthook


def _end_at_second_signal(reader: int) -> None:
    """Reads the numbers of signals from a pipe until `END`, or until one of `SIGNALS` repeats."""
    seen = set()
    while (number := os.read(reader, 1)) != END:
        if number in seen:
            child_processes.kill_all()
            os._exit(128 + number[0])
        if number[0] in SIGNALS:
            seen.add(number)
