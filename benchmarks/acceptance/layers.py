"""Budgets of the layer `BoxConv2D`: relative to Keras's convolutions, and to the layer unfused.

Unfused, the layer is two operators: `box_conv2d`, then a matrix product with all responses.
"""

from __future__ import annotations

import dataclasses

from benchmarks import layer_times, timing
from benchmarks.acceptance.budget import Check
from benchmarks.cases import PASSES, Case
from benchmarks.layer_times import BASE, FOUR_BOXES, FUSED, ONE_BOX, SEPARABLE, UNFUSED
from benchmarks.tables import threads_text
from benchmarks.workers import Worker

SHAPE = (8, 64, 64, 64)
# A layer, its rival, and the maxima of the ratio of their times in each of PASSES.
TO_RIVALS = (
    (ONE_BOX, SEPARABLE, (0.85, 0.75)),
    (FOUR_BOXES, BASE, (0.70, 0.70)),
)

MAX_TO_UNFUSED = 1.05
BOXES_PER_CHANNEL = (1, 2, 4, 8)
# Inputs and numbers of filters: a large plane, small planes of many images, planes between them
# with many filters, and channels-first images. The operator gains less on them than on SHAPE.
PROBLEMS = tuple(
    (dataclasses.replace(case, multiplier=boxes), filters)
    for case, filters in (
        (Case(1, 256, 256, 32), 32),
        (Case(32, 16, 16, 256), 256),
        (Case(8, 28, 28, 128), 256),
        (Case(8, 64, 64, 64, data_format="channels_first"), 64),
    )
    for boxes in BOXES_PER_CHANNEL
)


def checks(rounds: int) -> list[Check]:
    """Measures all ratios on one and on two threads."""
    found = []
    for threads in (1, 2):
        with Worker(threads) as worker:
            names = (ONE_BOX, SEPARABLE, FOUR_BOXES, BASE)
            times, _ = worker.call(layer_times.measure, [SHAPE], rounds, names)
            found += rival_checks(times, threads)
            for case, filters in PROBLEMS:
                title = f"{threads_text(threads)}, {case}, {filters} filters"
                times = worker.call(layer_times.measure_fused, case, filters, rounds, title)
                found += fused_checks(case, filters, times, threads)
    return found


def rival_checks(times: dict[layer_times.Key, list[float]], threads: int) -> list[Check]:
    """Returns the ratios to Keras's layers."""
    return [
        Check(
            f"{pass_name}, {threads_text(threads)}: {layer} / {rival}, {list(SHAPE)}",
            timing.ratio(times[SHAPE, pass_name, layer], times[SHAPE, pass_name, rival]).median,
            maximum,
        )
        for layer, rival, maxima in TO_RIVALS
        for pass_name, maximum in zip(PASSES, maxima, strict=True)
    ]


def fused_checks(
    case: Case, filters: int, times: dict[tuple[str, str], list[float]], threads: int
) -> list[Check]:
    """Returns the ratios of the fused to the unfused layer."""
    return [
        Check(
            f"{pass_name}, {threads_text(threads)}: fused / unfused, {case}, {filters} filters",
            timing.ratio(times[pass_name, FUSED], times[pass_name, UNFUSED]).median,
            MAX_TO_UNFUSED,
        )
        for pass_name in PASSES
    ]
