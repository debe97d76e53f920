"""Times candidates on cases. Runs in a worker process with a fixed number of threads."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from benchmarks import rivals, timing
from benchmarks.cases import Case, Entry, Key, Skipped, Times


def keys_of(entries: Iterable[Entry], pass_name: str) -> tuple[list[Key], list[Skipped]]:
    """Returns the measurements to make, and those to skip with the reasons."""
    keys, skipped = [], []
    for entry in entries:
        for candidate in entry.candidates:
            key = Key(entry.case, candidate, pass_name)
            reason = rivals.reason_to_skip(entry.case, candidate, pass_name)
            if reason:
                skipped.append(Skipped(key, reason))
            else:
                keys.append(key)
    return keys, skipped


def compile_calls(keys: Iterable[Key]) -> dict[Key, Callable[[], object]]:
    """Compiles a call for each key. All candidates of a case share the same input tensors."""
    inputs: dict[Case, rivals.Inputs] = {}
    calls = {}
    for key in keys:
        rival = rivals.RIVALS[key.candidate.operator]
        case = key.case
        if rival.channels_last_only:
            case = dataclasses.replace(case, data_format="channels_last")
        if case not in inputs:
            inputs[case] = rivals.Inputs(case)
        calls[key] = rival.call(case, key.candidate.size, inputs[case], key.pass_name)
    return calls


def measure(
    entries: Iterable[Entry], pass_name: str, rounds: int, title: str = ""
) -> tuple[Times, list[Skipped]]:
    """Times all candidates on all cases in interleaved rounds."""
    keys, skipped = keys_of(entries, pass_name)
    return timing.interleaved(compile_calls(keys), rounds, title), skipped
