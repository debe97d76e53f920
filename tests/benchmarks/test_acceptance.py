"""`benchmarks.acceptance`: budgets, ratios, precision and the exit status."""

import json
import math

import numpy as np
import pytest

from benchmarks.acceptance import __main__ as acceptance
from benchmarks.acceptance import layers, memory, precision, ratios, shapes, speedup, threads
from benchmarks.acceptance.budget import Check, all_kept, at_least, table_of
from benchmarks.cases import DEPTHWISE_3, FORWARD, FORWARD_BACKWARD, PASSES, Candidate, Case
from benchmarks.layer_times import BASE, FOUR_BOXES, FUSED, ONE_BOX, SEPARABLE, UNFUSED
from benchmarks.measure import keys_of
from benchmarks.suites import STANDARD
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


@pytest.mark.parametrize("pass_name", PASSES)
def test_shapes_that_take_the_same_time_per_output_keep_their_budgets(pass_name):
    names = []
    for group in shapes.GROUPS:
        assert group.entries()[0].case == STANDARD
        times = fake_times(group.entries(), pass_name, lambda key: key.case.outputs)
        checks = shapes.group_checks(group, times, pass_name, 1)
        assert {check.measured for check in checks} == {1.0}
        assert all(check.kept for check in checks)
        names += [check.name for check in checks]
    assert len(set(names)) == len(names)


def test_shapes_are_compared_with_the_standard_shape_depthwise_and_the_smallest_box():
    small, large = Candidate("box", 3), Candidate("box", 7)
    case = Case(1, 8, 8, 1)
    budgets = (
        shapes.Budget(case, 3, per_output=(2.0, None), to_depthwise_3=(3.0, 2.5)),
        shapes.Budget(case, 7),
    )
    group = shapes.Group(budgets, largest_to_smallest=1.3)
    seconds = {shapes.BASE: STANDARD.outputs, DEPTHWISE_3: 64, small: 3 * 64, large: 6 * 64}
    for pass_name, of_small, of_depthwise in ((FORWARD, 2.0, 3.0), (FORWARD_BACKWARD, None, 2.5)):
        times = fake_times(group.entries(), pass_name, lambda key: seconds[key.candidate])
        checks = shapes.group_checks(group, times, pass_name, 2)
        assert [(check.measured, check.budget) for check in checks] == [
            (3.0, of_small),
            (3.0, of_depthwise),
            (6.0, None),
            (2.0, 1.3),
        ]
        assert all(check.name.startswith(f"{pass_name}, 2 threads: ") for check in checks)


def test_shapes_cover_both_layouts_of_every_large_plane_with_several_channels():
    layouts = {}
    for group in shapes.GROUPS:
        for budget in group.budgets:
            if group.largest_to_smallest:
                sizes = layouts.setdefault(budget.case.height, {})
                sizes.setdefault(budget.case.data_format, []).append(budget.size)
    assert set(layouts) == {256, 512, 1024, 2048, 4096}
    for height, sizes in layouts.items():
        assert len(sizes) == (1 if height == 4096 else 2)
        assert all(found == [3, 33, 129, height] for found in sizes.values())


def test_shapes_of_many_outputs_are_timed_in_half_the_rounds():
    rounds = {group.title: group.rounds(15) for group in shapes.GROUPS}
    assert rounds["1x512x512x16; 1x16x512x512, NCHW"] == 15
    assert rounds["1x4096x4096x1"] == 8


def test_layers_are_compared_with_their_rivals():
    seconds = {ONE_BOX: 3.0, SEPARABLE: 4.0, FOUR_BOXES: 6.0, BASE: 8.0}
    times = {
        (layers.SHAPE, pass_name, name): [value] * 3
        for pass_name in PASSES
        for name, value in seconds.items()
    }
    checks = layers.rival_checks(times, 2)
    assert [(check.measured, check.budget) for check in checks] == [
        (0.75, 0.85),
        (0.75, 0.75),
        (0.75, 0.70),
        (0.75, 0.70),
    ]
    assert [check.kept for check in checks] == [True, True, False, False]
    assert len({check.name for check in checks}) == 4


def test_the_fused_layer_may_take_a_twentieth_longer_than_the_unfused_layer():
    case, filters = layers.PROBLEMS[0]
    times = {(p, name): [1.0] * 3 for p in PASSES for name in (FUSED, UNFUSED)}
    times[FORWARD_BACKWARD, FUSED] = [1.1] * 3
    forward, both = layers.fused_checks(case, filters, times, 1)
    assert forward.measured == 1.0 and forward.kept
    assert both.measured == pytest.approx(1.1) and not both.kept
    assert all("fused / unfused, 1x256x256x32, 32 filters" in c.name for c in (forward, both))


def test_layers_are_measured_with_one_to_eight_boxes_on_all_shapes():
    assert len(set(layers.PROBLEMS)) == 16
    assert {case.multiplier for case, _ in layers.PROBLEMS} == {1, 2, 4, 8}
    shapes_and_filters = {(case.shape, filters) for case, filters in layers.PROBLEMS}
    assert shapes_and_filters == {
        ((1, 256, 256, 32), 32),
        ((32, 16, 16, 256), 256),
        ((8, 28, 28, 128), 256),
        ((8, 64, 64, 64), 64),
    }
    layouts = {case.data_format for case, _ in layers.PROBLEMS if case.height == 64}
    assert layouts == {"channels_first"}


@pytest.mark.long
def test_checks_of_layers_run_both_numbers_of_threads(monkeypatch):
    monkeypatch.setattr(layers, "SHAPE", (1, 8, 8, 4))
    monkeypatch.setattr(layers, "PROBLEMS", ((Case(1, 8, 8, 3, multiplier=2), 5),))
    checks = layers.checks(rounds=1)
    assert len({check.name for check in checks}) == len(checks) == 12
    assert all(check.measured > 0 and check.budget for check in checks)


def test_speedup_of_half_the_time_is_two():
    times = fake_times(speedup.ENTRIES, FORWARD)
    half = {key: [sample / 2 for sample in samples] for key, samples in times.items()}
    checks = speedup.speedup_checks(times, half, FORWARD)
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


def test_precision_finds_nan(monkeypatch):
    reference = precision.reference.box_conv2d
    monkeypatch.setattr(precision.reference, "box_conv2d", lambda *a: np.nan * reference(*a))
    assert np.isnan(precision.float32_error(np.ones((16, 16), np.float32)))


def test_the_digest_depends_only_on_the_case():
    digest = threads.digest(TINY)
    assert digest == threads.digest(TINY) and len({digest, threads.digest(threads.CASES[5])}) == 2
