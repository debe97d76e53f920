"""`benchmarks.layers` on a small image."""

import numpy as np
import pytest

from benchmarks import layer_times, layers
from benchmarks.cases import FORWARD_BACKWARD, PASSES, Case
from benchmarks.layer_times import BASE, FUSED, LAYERS, SKIPPED, UNFUSED
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


def test_only_the_named_layers_are_timed():
    times, parameters = layer_times.measure([SHAPE], 1, [BASE])
    assert set(times) == {(SHAPE, pass_name, BASE) for pass_name in PASSES}
    assert set(parameters) == {(SHAPE, BASE)}


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_the_fused_and_the_unfused_layer_compute_the_same(data_format):
    case = Case(2, 9, 8, 5, multiplier=3, data_format=data_format)
    built = layer_times.fused_and_unfused(case, 4)
    x = layer_times.random_images(case.shape)
    output_grad = layer_times.random_images(built[FUSED].compute_output_shape(case.shape))
    fused, unfused = (
        layer_times.compile_call(built[name], FORWARD_BACKWARD, x, output_grad)()
        for name in (FUSED, UNFUSED)
    )
    assert len(fused) == len(unfused) == 5  # output; gradients of input, boxes, kernel, bias
    for one, other in zip(fused, unfused, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_both_passes_of_the_fused_and_the_unfused_layer_are_timed():
    times = layer_times.measure_fused(Case(1, 9, 8, 4, multiplier=2), 3, rounds=2)
    assert set(times) == {(p, name) for p in PASSES for name in (FUSED, UNFUSED)}
    assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in times.values())
