"""Budgets of the memory beyond inputs, outputs and gradients."""

from __future__ import annotations

from benchmarks import workers
from benchmarks.acceptance.budget import Check
from benchmarks.cases import FORWARD_BACKWARD, PASSES
from benchmarks.memory import BOX, BUDGET_CASE, BUDGETS, LAYER, LAYER_CASE, extra_memory


def checks(rounds: int) -> list[Check]:
    """Measures the operator and the layer. `rounds` is not used."""
    threads = workers.default_threads()
    measured = [(BUDGET_CASE, BOX, pass_name) for pass_name in PASSES]
    measured.append((LAYER_CASE, LAYER, FORWARD_BACKWARD))
    return [
        Check(
            f"extra MiB, {pass_name}, {candidate}, {case}",
            extra_memory(case, candidate, pass_name, threads),
            BUDGETS[candidate],
        )
        for case, candidate, pass_name in measured
    ]
