"""Computes rows with ratios from times, and writes them to files."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np

from benchmarks import timing
from benchmarks.cases import COPY, DEPTHWISE_3, Case, Key, Skipped, Times
from benchmarks.timing import Spread


@dataclasses.dataclass(frozen=True)
class Run:
    """The times of one suite, for one number of threads and one pass."""

    suite: str
    threads: int
    pass_name: str
    times: Times
    skipped: list[Skipped]


@dataclasses.dataclass(frozen=True)
class Row:
    """The result of one candidate on one case. Ratios compare times of the same rounds.

    Attributes:
        key: The measurement.
        milliseconds: Time of one call.
        nanoseconds_per_output: Median time of one call, divided by the number of outputs.
        to_depthwise_3: Ratio to the time of TensorFlow's 3x3 depthwise convolution.
        to_copy: Ratio to the time of copying the images once.
        to_first_case: Ratio of the time per output to that on the suite's first case.
    """

    key: Key
    milliseconds: Spread
    nanoseconds_per_output: float
    to_depthwise_3: Spread
    to_copy: Spread
    to_first_case: Spread | None

    def flat(self) -> dict[str, object]:
        """Returns the row as column names and plain values."""
        flat = {
            "pass": self.key.pass_name,
            **dataclasses.asdict(self.key.case),
            **dataclasses.asdict(self.key.candidate),
            "ns_per_output": self.nanoseconds_per_output,
        }
        for name in ("milliseconds", "to_depthwise_3", "to_copy", "to_first_case"):
            value = getattr(self, name)
            for part in ("median", "low", "high"):
                flat[f"{name}_{part}"] = None if value is None else getattr(value, part)
        return flat


def per_output(times: Times, key: Key) -> np.ndarray:
    """Returns the seconds per output of each round."""
    return np.array(times[key]) / key.case.outputs


def rows(run: Run) -> list[Row]:
    """Returns a row for every measurement."""
    first_case = next(iter(run.times)).case
    return [_row(run.times, key, first_case) for key in run.times]


def _row(times: Times, key: Key, first_case: Case) -> Row:
    samples = times[key]
    first = dataclasses.replace(key, case=first_case)
    return Row(
        key,
        timing.spread(1e3 * np.array(samples)),
        float(1e9 * np.median(per_output(times, key))),
        timing.ratio(samples, times[dataclasses.replace(key, candidate=DEPTHWISE_3)]),
        timing.ratio(samples, times[dataclasses.replace(key, candidate=COPY)]),
        timing.ratio(per_output(times, key), per_output(times, first)) if first in times else None,
    )


def write_json(path: Path, machine: dict[str, str], runs: list[Run]) -> None:
    """Writes all rows and all samples in seconds."""
    content = {"machine": machine, "runs": [_run_content(run) for run in runs]}
    path.write_text(json.dumps(content, indent=1) + "\n")


def write_csv(path: Path, runs: list[Run]) -> None:
    """Writes one line per row."""
    lines = [
        {"suite": run.suite, "threads": run.threads, **row.flat()}
        for run in runs
        for row in rows(run)
    ]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, lines[0].keys())
        writer.writeheader()
        writer.writerows(lines)


def _run_content(run: Run) -> dict[str, object]:
    return {
        "suite": run.suite,
        "threads": run.threads,
        "pass": run.pass_name,
        "results": [{**row.flat(), "samples": run.times[row.key]} for row in rows(run)],
        "skipped": [
            {**dataclasses.asdict(skipped.key), "reason": skipped.reason} for skipped in run.skipped
        ],
    }
