"""Budgets of time relative to TensorFlow's depthwise convolution, the portable path and a copy."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks import timing
from benchmarks.acceptance.budget import Check, at_least
from benchmarks.cases import COPY, DEPTHWISE_3, FORWARD, FORWARD_BACKWARD, Candidate, Case, Entry
from benchmarks.measure import Key, Times, measure
from benchmarks.suites import LARGER_THAN_CACHE, STANDARD
from benchmarks.tables import threads_text
from benchmarks.workers import Worker

SIZES = (3, 15, 31, 63, 127)
BACKWARD_SIZES = (3, 31, 127)
BOXES = {size: Candidate("box", size) for size in SIZES}
PORTABLE = Candidate("portable", 31)
DEPTHWISE_7 = Candidate("depthwise", 7)
# Multiples of the time of copying the tensor, by number of threads.
COPY_BUDGETS = {1: 3.5, 2: 2.5}

FORWARD_ENTRIES = (
    Entry(STANDARD, (*BOXES.values(), DEPTHWISE_3, PORTABLE)),
    Entry(LARGER_THAN_CACHE, (BOXES[31], COPY)),
)
BACKWARD_ENTRIES = (
    Entry(
        STANDARD,
        (*(BOXES[size] for size in BACKWARD_SIZES), DEPTHWISE_3, DEPTHWISE_7, PORTABLE),
    ),
)


def checks(rounds: int) -> list[Check]:
    """Measures all ratios on one and on two threads."""
    found = []
    for threads in (1, 2):
        with Worker(threads) as worker:
            forward, _ = worker.call(measure, FORWARD_ENTRIES, FORWARD, rounds)
            backward, _ = worker.call(measure, BACKWARD_ENTRIES, FORWARD_BACKWARD, rounds)
        found += forward_checks(forward, threads) + backward_checks(backward, threads)
    return found


def forward_checks(times: Times, threads: int) -> list[Check]:
    """Returns the budgets of the forward pass."""
    ratio = _ratios(times, FORWARD)
    prefix = f"forward, {threads_text(threads)}: "
    return [
        *(
            Check(f"{prefix}box {size} / depthwise 3", ratio(BOXES[size], DEPTHWISE_3), 1.0)
            for size in SIZES
        ),
        Check(f"{prefix}box 127 / box 3", ratio(BOXES[127], BOXES[3]), 1.05),
        at_least(f"{prefix}portable / box 31", ratio(PORTABLE, BOXES[31]), 5.0),
        Check(
            f"{prefix}box 31 / copy, {LARGER_THAN_CACHE}",
            ratio(BOXES[31], COPY, LARGER_THAN_CACHE),
            COPY_BUDGETS[threads],
        ),
    ]


def backward_checks(times: Times, threads: int) -> list[Check]:
    """Returns the budgets of forward and backward pass together."""
    ratio = _ratios(times, FORWARD_BACKWARD)
    prefix = f"forward+backward, {threads_text(threads)}: "
    return [
        *(
            Check(f"{prefix}box {size} / depthwise 3", ratio(BOXES[size], DEPTHWISE_3), 2.0)
            for size in BACKWARD_SIZES
        ),
        at_least(f"{prefix}depthwise 7 / box 31", ratio(DEPTHWISE_7, BOXES[31]), 5.0),
        at_least(f"{prefix}portable / box 31", ratio(PORTABLE, BOXES[31]), 5.0),
    ]


def _ratios(times: Times, pass_name: str) -> Callable[..., float]:
    """Returns a function that gives the ratio of the times of two candidates on a case."""

    def ratio(one: Candidate, other: Candidate, case: Case = STANDARD) -> float:
        samples = (times[Key(case, candidate, pass_name)] for candidate in (one, other))
        return timing.ratio(*samples).median

    return ratio
