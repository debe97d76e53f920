"""`benchmarks.acceptance`: budgets, ratios, precision and the exit status."""

import json
import math

import numpy as np
import pytest

from benchmarks.acceptance import __main__ as acceptance
from benchmarks.acceptance import memory, precision, ratios, shapes, threads
from benchmarks.acceptance.budget import Check, all_kept, at_least, table_of
from benchmarks.cases import FORWARD, FORWARD_BACKWARD
from benchmarks.measure import keys_of
from benchmarks.tables import console
from tests.benchmarks.small_cases import TINY


def test_budgets_are_upper_or_lower_bounds():
    assert Check("x", 1.0, 1.0).kept and not Check("x", 1.1, 1.0).kept
    assert at_least("x", 5.0, 5.0).kept and not at_least("x", 4.9, 5.0).kept
    assert Check("x", 99.0).kept
    assert not Check("x", math.nan, 1.0).kept and not at_least("x", math.nan, 1.0).kept
    assert all_kept([[Check("x", 1, 1)], [Check("x", 0, 1)]])
    assert not all_kept([[Check("x", 1, 1)], [Check("x", 2, 1)]])


def test_table_shows_both_runs_and_the_verdict():
    first = [Check("kept", 0.5, 1.0), Check("missed once", 1, 1), at_least("missed", 1, 5)]
    second = [Check("kept", 0.25, 1.0), Check("missed once", 2, 1), at_least("missed", 2, 5)]
    with console.capture() as capture:
        console.print(table_of("title", [first, second]))
    kept, once, missed = (line for line in capture.get().splitlines() if "│" in line)
    assert "0.5" in kept and "0.25" in kept and "<= 1" in kept and "ok" in kept
    assert "MISSED in 1 of 2" in once
    assert "MISSED " in missed and ">= 5" in missed and "in" not in missed.split("MISSED")[1]


@pytest.mark.parametrize("measured,strict,status", [(2, True, 1), (2, False, 0), (1, True, 0)])
def test_exit_status(measured, strict, status, monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "checks", lambda rounds: [Check("x", measured, 1)])
    flags = ["--strict"] if strict else []
    output = tmp_path / "folder" / "figures.json"
    assert acceptance.main(["--only", "memory", "--output", str(output), *flags]) == status
    runs = json.loads(output.read_text())["runs"]
    assert [run["memory"][0]["measured"] for run in runs] == [measured, measured]


def fake_times(entries, pass_name, seconds=lambda key: 1.0):
    keys, skipped = keys_of(entries, pass_name)
    assert not skipped
    return {key: [seconds(key)] * 3 for key in keys}


def test_ratios_of_equal_times_are_one():
    forward = fake_times(ratios.FORWARD_ENTRIES, FORWARD)
    backward = fake_times(ratios.BACKWARD_ENTRIES, FORWARD_BACKWARD)
    for number in (1, 2):
        found = ratios.forward_checks(forward, number) + ratios.backward_checks(backward, number)
        assert {check.measured for check in found} == {1.0}
        missed = [check.name for check in found if not check.kept]
        # Three budgets ask that a rival take at least five times as long as the box.
        assert len(missed) == 3 and all(name.endswith("/ box 31") for name in missed)


def test_shapes_are_compared_per_output_and_per_thread():
    times = fake_times(shapes.ENTRIES, FORWARD, lambda key: key.case.outputs)
    checks = shapes.per_output_checks(times, FORWARD, 1)
    assert len(checks) == 3 and {check.measured for check in checks} == {1.0}
    half = {key: [sample / 2 for sample in samples] for key, samples in times.items()}
    checks = shapes.speedup_checks(times, half, FORWARD)
    assert {check.measured for check in checks} == {2.0} and all(check.kept for check in checks)


def test_precision_keeps_its_budgets_on_small_planes():
    assert all(np.min(plane) >= 0 for plane in precision.planes(64).values())
    checks = precision.measure(64)
    assert len(checks) == len(precision.planes(64)) + len(precision.HALF_TYPES)
    assert all(check.kept and check.measured > 0 for check in checks)


def test_precision_finds_an_error(monkeypatch):
    box_conv2d = precision.reference.box_conv2d
    monkeypatch.setattr(precision.reference, "box_conv2d", lambda *a: 1.001 * box_conv2d(*a))
    assert precision.float32_error(np.ones((16, 16), np.float32)) == pytest.approx(1e-3, rel=0.01)


def test_the_digest_depends_only_on_the_case():
    digest = threads.digest(TINY)
    assert digest == threads.digest(TINY) and len({digest, threads.digest(threads.CASES[5])}) == 2
