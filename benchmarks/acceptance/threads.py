"""Budget of determinism: the bits of results must not depend on the number of threads."""

from __future__ import annotations

import contextlib
import hashlib

from benchmarks.acceptance.budget import Check
from benchmarks.cases import FORWARD_BACKWARD, Case
from benchmarks.rivals import RIVALS, Inputs
from benchmarks.suites import OTHER_SHAPES, STANDARD
from benchmarks.workers import Worker

THREADS = (1, 2, 4)
CASES = (
    STANDARD,
    *OTHER_SHAPES,
    Case(1, 1024, 1024, 1),
    Case(3, 37, 53, 5, multiplier=3, data_format="channels_first"),
    Case(2, 64, 64, 32, dtype="float16"),
    Case(2, 64, 64, 32, dtype="float64"),
)


def checks(rounds: int) -> list[Check]:
    """Counts the different results of each case. `rounds` is not used."""
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(Worker(threads)) for threads in THREADS]
        counts = {case: len({worker.call(digest, case) for worker in workers}) for case in CASES}
    names = ", ".join(map(str, THREADS))
    return [
        Check(f"different results on {names} threads, {case}", count, 1)
        for case, count in counts.items()
    ]


def digest(case: Case) -> str:
    """Returns a hash of output, input gradient and box gradient. Runs in a worker."""
    call = RIVALS["box, random"].call(case, None, Inputs(case), FORWARD_BACKWARD)
    found = hashlib.sha256()
    for tensor in call():
        found.update(tensor.numpy().tobytes())
    return found.hexdigest()
