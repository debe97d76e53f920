"""Benchmark cases that take almost no time."""

import dataclasses

from benchmarks.cases import COPY, DEPTHWISE_3, Candidate, Case, Entry
from benchmarks.suites import Suite, operator_of, size_of

TINY = Case(2, 8, 9, 3)
TINY_SUITE = Suite(
    "a tiny suite",
    (Entry(TINY, (Candidate("box", 3), Candidate("box", 5), DEPTHWISE_3, COPY)),),
    "kernel size",
    size_of,
    operator_of,
)


def shrunk(case: Case) -> Case:
    """Returns the case with a small shape and the same options."""
    return dataclasses.replace(case, batch=2, height=8, width=8, channels=min(case.channels, 3))
