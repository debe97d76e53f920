"""Interleaved timing. Every candidate runs in every round, so drift affects all equally."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

import numpy as np

from examples.pose.cli import progress

# A sample lasts at least this long; shorter calls are repeated.
SAMPLE_SECONDS = 5e-3

Key = TypeVar("Key", bound=Hashable)


@dataclasses.dataclass(frozen=True)
class Spread:
    """A median and the lower and upper quartiles."""

    median: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        return f"{self.median:{spec}} ({self.low:{spec}}..{self.high:{spec}})"


def spread(samples) -> Spread:
    """Returns the median and quartiles of samples."""
    low, median, high = np.percentile(samples, (25, 50, 75))
    return Spread(float(median), float(low), float(high))


def ratio(samples, base) -> Spread:
    """Returns the ratio of the medians, with the quartiles of the rounds' ratios."""
    low, _, high = np.percentile(np.asarray(samples) / np.asarray(base), (25, 50, 75))
    return Spread(float(np.median(samples) / np.median(base)), float(low), float(high))


class Sampler:
    """Warms calls up, determines how often to repeat each, and times them round by round."""

    def __init__(self, calls: Mapping[Key, Callable[[], object]]):
        self._calls = {key: (call, _repeats(call)) for key, call in calls.items()}

    def round(self) -> dict[Key, float]:
        """Times every call once; returns the seconds per call."""
        times = {}
        for key, (call, repeats) in self._calls.items():
            # One untimed run removes what the previous candidate left in caches and allocator.
            _seconds(call, repeats)
            times[key] = _seconds(call, repeats)
        return times


def interleaved(
    calls: Mapping[Key, Callable[[], object]], rounds: int, title: str = ""
) -> dict[Key, list[float]]:
    """Returns the seconds of each call in every round; shows progress on a terminal."""
    sampler = Sampler(calls)
    samples = [sampler.round() for _ in progress.track(range(rounds), f"{title}, rounds")]
    return {key: [sample[key] for sample in samples] for key in calls}


def _seconds(call: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def _repeats(call: Callable[[], object]) -> int:
    call()  # The first call may compile or allocate.
    repeats = 1
    while (elapsed := repeats * _seconds(call, repeats)) < SAMPLE_SECONDS:
        # The first calls are the slowest, so grow by at most a factor of ten.
        growth = min(10.0, 1.2 * SAMPLE_SECONDS / max(elapsed, 1e-9))
        repeats = max(repeats + 1, math.ceil(repeats * growth))
    return repeats
