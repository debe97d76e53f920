"""Times by turns: all candidates in every round, so that a machine that drifts harms all alike."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

import numpy as np

from examples.pose.cli import progress

# One sample lasts at least this long; shorter calls are repeated within it.
SAMPLE_SECONDS = 5e-3

Key = TypeVar("Key", bound=Hashable)


@dataclasses.dataclass(frozen=True)
class Spread:
    """A median with the quartiles around it."""

    middle: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        return f"{self.middle:{spec}} ({self.low:{spec}}..{self.high:{spec}})"


def spread(samples) -> Spread:
    """Median and quartiles of samples."""
    low, middle, high = np.percentile(samples, (25, 50, 75))
    return Spread(float(middle), float(low), float(high))


def ratio(samples, base) -> Spread:
    """The ratio of two medians; around it the quartiles of the ratios round by round."""
    low, _, high = np.percentile(np.asarray(samples) / np.asarray(base), (25, 50, 75))
    return Spread(float(np.median(samples) / np.median(base)), float(low), float(high))


class Sampler:
    """Warms calls up, finds how often to repeat each, and times them all, one round at a time."""

    def __init__(self, calls: Mapping[Key, Callable[[], object]]):
        self._calls = {key: (call, _repeats(call)) for key, call in calls.items()}

    def round(self) -> dict[Key, float]:
        """Seconds that one call of each takes."""
        times = {}
        for key, (call, repeats) in self._calls.items():
            # Once untimed: nobody pays for what the candidate before left in caches and allocator.
            _seconds(call, repeats)
            times[key] = _seconds(call, repeats)
        return times


def interleaved(
    calls: Mapping[Key, Callable[[], object]], rounds: int, title: str = ""
) -> dict[Key, list[float]]:
    """Seconds of each call in every round, with progress under `title`."""
    sampler = Sampler(calls)
    samples = [sampler.round() for _ in progress.track(range(rounds), f"{title}, rounds")]
    return {key: [sample[key] for sample in samples] for key in calls}


def _seconds(call: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def _repeats(call: Callable[[], object]) -> int:
    call()  # The first call builds what it needs.
    repeats = 1
    while (elapsed := repeats * _seconds(call, repeats)) < SAMPLE_SECONDS:
        # At most tenfold: the first calls are the slowest.
        growth = min(10.0, 1.2 * SAMPLE_SECONDS / max(elapsed, 1e-9))
        repeats = max(repeats + 1, math.ceil(repeats * growth))
    return repeats
