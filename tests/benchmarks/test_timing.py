"""Interleaved timing, its statistics, and the tables made of them."""

import pytest

from benchmarks import results, timing
from benchmarks.cases import COPY, DEPTHWISE_3, FORWARD, Candidate, Case
from benchmarks.measure import Key, Skipped
from benchmarks.tables import console, print_run
from benchmarks.timing import Spread

SMALL, LARGE = Case(1, 8, 8, 1), Case(1, 16, 16, 1)
BOX = Candidate("box", 3)


def test_spread_is_median_and_quartiles():
    assert timing.spread([5, 1, 2, 4, 3]) == Spread(3, 2, 4)
    assert f"{Spread(3, 2, 4.26):.1f}" == "3.0 (2.0..4.3)"


def test_a_ratio_is_the_ratio_of_medians_with_the_quartiles_of_the_rounds():
    # The median of the rounds' ratios would be 3.
    assert timing.ratio([2, 6, 9], [1, 4, 3]) == Spread(2, 1.75, 2.5)


def test_candidates_take_turns(monkeypatch):
    monkeypatch.setattr(timing, "SAMPLE_SECONDS", 0.0)
    order = []
    calls = {name: (lambda name=name: order.append(name)) for name in "abc"}
    times = timing.interleaved(calls, rounds=3)
    # Each turn makes one untimed call before the timed one.
    assert "".join(order).endswith("aabbcc" * 3)
    assert {name: len(samples) for name, samples in times.items()} == dict.fromkeys("abc", 3)


def test_short_calls_are_repeated_and_the_time_of_one_is_reported(monkeypatch):
    clock = 0.0

    def call():
        nonlocal clock
        clock += 1e-3

    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock)
    sampler = timing.Sampler({"call": call})
    before = clock
    assert sampler.round()["call"] == pytest.approx(1e-3)
    assert clock - before >= timing.SAMPLE_SECONDS


@pytest.fixture
def run():
    def key(case, candidate):
        return Key(case, candidate, FORWARD)

    times = {
        key(SMALL, BOX): [2.0, 2.0, 4.0],
        key(SMALL, DEPTHWISE_3): [1.0, 1.0, 1.0],
        key(SMALL, COPY): [0.5, 0.5, 0.5],
        key(LARGE, BOX): [16.0, 16.0, 16.0],
        key(LARGE, DEPTHWISE_3): [4.0, 8.0, 8.0],
        key(LARGE, COPY): [2.0, 2.0, 2.0],
    }
    skipped = [Skipped(key(LARGE, Candidate("depthwise", 63)), "too slow")]
    return results.Run("a suite", 2, FORWARD, times, skipped)


def test_rows_compare_within_their_case(run):
    rows = {(row.key.case, row.key.candidate): row for row in results.rows(run)}
    small, large = rows[SMALL, BOX], rows[LARGE, BOX]
    assert small.milliseconds == Spread(2000, 2000, 3000)
    assert small.nanoseconds_per_output == pytest.approx(2e9 / 64)
    assert small.to_depthwise_3 == Spread(2, 2, 3)
    assert small.to_copy == Spread(4, 4, 6)
    assert large.to_depthwise_3 == Spread(2, 2, 3)
    # Four times as many outputs take eight times as long.
    assert large.to_first_case.median == 2
    assert small.to_first_case.median == 1
    assert rows[SMALL, DEPTHWISE_3].to_depthwise_3 == Spread(1, 1, 1)


def test_table_names_what_was_timed_and_what_was_not(run):
    with console.capture() as capture:
        print_run(run, "title")
    text = capture.get()
    for part in ("2 threads", str(SMALL), str(LARGE), "box 3", "copy", "not timed", "too slow"):
        assert part in text
