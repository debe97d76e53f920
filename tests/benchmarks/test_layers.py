"""`benchmarks.layers` on a small image."""

import pytest

from benchmarks import layer_times, layers
from benchmarks.cases import PASSES
from benchmarks.layer_times import BASE, LAYERS, SKIPPED
from benchmarks.tables import console

SHAPE = (1, 9, 8, 4)


@pytest.fixture(scope="module")
def measured():
    return layer_times.measure([SHAPE], rounds=2)


def test_every_layer_is_timed_in_every_pass(measured):
    times, _ = measured
    expected = {(SHAPE, p, name) for p in PASSES for name in LAYERS}
    assert set(times) == expected - {(SHAPE, *skipped) for skipped in SKIPPED}
    assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in times.values())


def test_parameters(measured):
    _, parameters = measured
    assert parameters[SHAPE, BASE] == 9 * 4 * 4 + 4
    # Four edges for each box, mixing weights and biases.
    assert parameters[SHAPE, "BoxConv2D, 4 boxes per channel"] == 4 * 4 * 4 + 4 * 4 * 4 + 4


def test_the_table_names_every_layer_and_the_ratio(measured):
    with console.capture() as capture:
        console.print(layers.table_of(*measured, SHAPE, threads=1))
    text = capture.get()
    assert all(name in text for name in LAYERS) and "x 1.00 (1.00..1.00)" in text
