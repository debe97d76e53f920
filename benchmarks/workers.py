"""New processes with a fixed number of threads.

TensorFlow cannot change its number of threads once it has started, and memory is best measured in a
process where nothing has run before.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Worker:
    """A process in which TensorFlow, OpenCV and NumPy use `threads` threads.

    Use it in a `with` statement, which ends the process. State is kept between calls. Functions,
    arguments and results are pickled. `environment` is added to this process's environment.
    """

    def __init__(self, threads: int, environment: dict[str, str] | None = None):
        self.threads = threads
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, context, initializer=_start, initargs=(threads,))
        # BLAS reads these when it is loaded, before the process runs `_start`.
        variables = dict.fromkeys(_THREAD_VARIABLES, str(threads))
        with _environment({**variables, **(environment or {})}):
            self._pid = self.call(os.getpid)

    def call(self, function: Callable[..., Result], *args, **kwargs) -> Result:
        """Calls an importable function in the process and re-raises its exceptions here."""
        return self._pool.submit(function, *args, **kwargs).result()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind, *exception) -> None:
        if kind is not None and not issubclass(kind, Exception):
            self._terminate()  # On Ctrl-C do not wait for the call in progress.
        self._pool.shutdown()

    def _terminate(self) -> None:
        for process in multiprocessing.active_children():
            if process.pid == self._pid:
                process.terminate()


def in_fresh_process(threads: int, function: Callable[..., Result], *args, **kwargs) -> Result:
    """Calls an importable function in a new process."""
    with Worker(threads) as worker:
        return worker.call(function, *args, **kwargs)


def default_threads() -> int:
    """Returns the number of processors that this process may use."""
    return len(os.sched_getaffinity(0))


def _start(threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent decides when this process ends.
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    # Concurrent operations, such as the two gradients of a convolution, also take threads.
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    with contextlib.suppress(ImportError):
        import cv2

        cv2.setNumThreads(threads)


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
