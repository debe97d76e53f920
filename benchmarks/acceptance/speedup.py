"""Budget of the speedup by a second thread."""

from __future__ import annotations

import functools

from benchmarks import measure, timing
from benchmarks.acceptance.budget import Check, at_least
from benchmarks.cases import DEPTHWISE_3, FORWARD, PASSES, Candidate, Entry
from benchmarks.measure import Key, Times
from benchmarks.suites import OTHER_SHAPES, STANDARD
from benchmarks.workers import Worker

BOX = Candidate("box", 31)
# The speedup of TensorFlow's operator shows what the machine can provide.
ENTRIES = (
    Entry(STANDARD, (BOX, DEPTHWISE_3)),
    *(Entry(case, (BOX,)) for case in OTHER_SHAPES),
)
MIN_SPEEDUP = 1.7


def checks(rounds: int) -> list[Check]:
    """Times one and two threads in alternating rounds, each in its own process."""
    found = []
    with Worker(1) as one, Worker(2) as two:
        for pass_name in PASSES:
            samples = [
                (one.call(_one_round, pass_name), two.call(_one_round, pass_name))
                for _ in range(rounds)
            ]
            for worker in (one, two):
                worker.call(_sampler.cache_clear)
            one_times, two_times = (
                {key: [sample[i][key] for sample in samples] for key in samples[0][0]}
                for i in range(2)
            )
            found += speedup_checks(one_times, two_times, pass_name)
    return found


def speedup_checks(one: Times, two: Times, pass_name: str) -> list[Check]:
    """Returns the speedup by a second thread. The forward pass of the box has a budget."""
    found = []
    for key in one:
        name = f"{pass_name}: 1 thread / 2 threads, {key.candidate}, {key.case}"
        speedup = timing.ratio(one[key], two[key]).median
        if key.candidate == BOX and pass_name == FORWARD:
            found.append(at_least(name, speedup, MIN_SPEEDUP))
        else:
            found.append(Check(name, speedup))
    return found


@functools.cache
def _sampler(pass_name: str) -> timing.Sampler:
    keys, _ = measure.keys_of(ENTRIES, pass_name)
    return timing.Sampler(measure.compile_calls(keys))


def _one_round(pass_name: str) -> dict[Key, float]:
    """Times one round. Runs in a worker, which keeps the compiled calls between rounds."""
    return _sampler(pass_name).round()
