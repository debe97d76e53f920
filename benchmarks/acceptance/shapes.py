"""Budgets of the time per output on other shapes, types and normalizations.

The unit is the time per output of a box of 31 pixels on the standard shape. It is timed in the same
rounds as each group of cases.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from benchmarks import results, timing
from benchmarks.acceptance.budget import Check
from benchmarks.cases import DEPTHWISE_3, PASSES, Candidate, Case, Entry
from benchmarks.measure import Key, Times, measure
from benchmarks.suites import LARGE_PLANES, OTHER_SHAPES, STANDARD
from benchmarks.tables import threads_text
from benchmarks.workers import Worker

BASE = Candidate("box", 31)
# Box sizes on large planes; the last one is the plane's size.
PLANE_SIZES = (3, 33, 129)

# Calls with more outputs take tens of milliseconds. They are steadier and get half the rounds.
MANY_OUTPUTS = 2**23

# Maxima of the forward pass, and of forward and backward pass together. None: no budget.
Maxima = tuple[float | None, float | None]
NO_BUDGET = (None, None)


@dataclasses.dataclass(frozen=True)
class Budget:
    """The maxima of a box's time on a case.

    Attributes:
        case: The case.
        size: Side of the box in pixels.
        per_output: Maxima of the time per output, relative to that on the standard shape.
        to_depthwise_3: Maxima of the ratio to TensorFlow's 3x3 depthwise convolution on the same
            case. `None` if that is not timed.
    """

    case: Case
    size: int
    per_output: Maxima = NO_BUDGET
    to_depthwise_3: Maxima | None = None

    @property
    def box(self) -> Candidate:
        """The box that is timed."""
        return Candidate("box", self.size)


@dataclasses.dataclass(frozen=True)
class Group:
    """Budgets that are measured in the same rounds.

    Attributes:
        budgets: The budgets.
        largest_to_smallest: Maximum of the ratio of the last box's time to the first one's on the
            same case. `None` if they are not compared.
    """

    budgets: tuple[Budget, ...]
    largest_to_smallest: float | None = None

    @property
    def title(self) -> str:
        """Names the cases, for progress messages."""
        return "; ".join(dict.fromkeys(str(budget.case) for budget in self.budgets))

    def rounds(self, rounds: int) -> int:
        """Returns how many of the `rounds` are needed."""
        many = any(budget.case.outputs > MANY_OUTPUTS for budget in self.budgets)
        return (rounds + 1) // 2 if many else rounds

    def entries(self) -> tuple[Entry, ...]:
        """Returns what is timed; the base comes first."""
        candidates: dict[Case, dict[Candidate, None]] = {STANDARD: {BASE: None}}
        for budget in self.budgets:
            of_case = candidates.setdefault(budget.case, {})
            of_case[budget.box] = None
            if budget.to_depthwise_3:
                of_case[DEPTHWISE_3] = None
        return tuple(Entry(case, tuple(of_case)) for case, of_case in candidates.items())


def _large_plane(case: Case) -> Group:
    maximum = 1.8 if case.height >= 2048 else 1.6
    # With one channel the two layouts are the same.
    layouts = ("channels_last", "channels_first") if case.channels > 1 else ("channels_last",)
    budgets = (
        Budget(dataclasses.replace(case, data_format=layout), size, (maximum, maximum))
        for layout in layouts
        for size in (*PLANE_SIZES, case.height)
    )
    return Group(tuple(budgets), largest_to_smallest=1.3)


# A group for each plane, because all of them together would need gigabytes.
GROUPS = (
    Group(
        (
            Budget(Case(64, 7, 7, 64), 5, (2.0, 2.0), (2.0, 2.5)),
            Budget(Case(64, 8, 8, 64), 5, NO_BUDGET, (2.0, 2.5)),
            Budget(Case(32, 14, 14, 128), 9, (1.6, 1.6), (2.0, 2.5)),
            Budget(Case(32, 14, 14, 384), 9, (1.6, 1.6), (2.0, 2.5)),
        )
    ),
    Group(
        (
            Budget(dataclasses.replace(STANDARD, normalization="valid"), 31, (None, 1.6)),
            Budget(dataclasses.replace(STANDARD, dtype="float16"), 31, (1.5, 1.5)),
            Budget(dataclasses.replace(STANDARD, dtype="bfloat16"), 31),
        )
    ),
    *(Group((Budget(case, 31, (1.5, None)),)) for case in OTHER_SHAPES),
    *(_large_plane(case) for case in LARGE_PLANES),
)


def checks(rounds: int) -> list[Check]:
    """Measures all groups on one and on two threads."""
    found = []
    for threads in (1, 2):
        with Worker(threads) as worker:
            for pass_name in PASSES:
                for group in GROUPS:
                    title = f"{pass_name}, {threads_text(threads)}, {group.title}"
                    times, _ = worker.call(
                        measure, group.entries(), pass_name, group.rounds(rounds), title
                    )
                    found += group_checks(group, times, pass_name, threads)
    return found


def group_checks(group: Group, times: Times, pass_name: str, threads: int) -> list[Check]:
    """Returns the figures of a group in one pass."""
    prefix = f"{pass_name}, {threads_text(threads)}: "
    found = list(_per_output_checks(group.budgets, times, pass_name, prefix))
    if group.largest_to_smallest is not None:
        found += _largest_to_smallest_checks(group, times, pass_name, prefix)
    return found


def _per_output_checks(
    budgets: Iterable[Budget], times: Times, pass_name: str, prefix: str
) -> Iterable[Check]:
    in_pass = PASSES.index(pass_name)
    base = results.per_output(times, Key(STANDARD, BASE, pass_name))
    for budget in budgets:
        key = Key(budget.case, budget.box, pass_name)
        yield Check(
            f"{prefix}time per output, {budget.box}, {budget.case} / {BASE}, {STANDARD}",
            timing.ratio(results.per_output(times, key), base).median,
            budget.per_output[in_pass],
        )
        if budget.to_depthwise_3:
            depthwise = times[dataclasses.replace(key, candidate=DEPTHWISE_3)]
            yield Check(
                f"{prefix}{budget.box} / {DEPTHWISE_3}, {budget.case}",
                timing.ratio(times[key], depthwise).median,
                budget.to_depthwise_3[in_pass],
            )


def _largest_to_smallest_checks(
    group: Group, times: Times, pass_name: str, prefix: str
) -> Iterable[Check]:
    boxes: dict[Case, list[Candidate]] = {}
    for budget in group.budgets:
        boxes.setdefault(budget.case, []).append(budget.box)
    for case, (smallest, *_, largest) in boxes.items():
        samples = (times[Key(case, box, pass_name)] for box in (largest, smallest))
        yield Check(
            f"{prefix}{largest} / {smallest}, {case}",
            timing.ratio(*samples).median,
            group.largest_to_smallest,
        )
