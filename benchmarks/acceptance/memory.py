"""Budget of the memory beyond inputs, outputs and gradients."""

from __future__ import annotations

from benchmarks import workers
from benchmarks.acceptance.budget import Check
from benchmarks.cases import PASSES
from benchmarks.memory import BOX, BUDGET, BUDGET_CASE, extra_memory


def checks(rounds: int) -> list[Check]:
    """Measures both passes. `rounds` is not used."""
    threads = workers.default_threads()
    return [
        Check(
            f"extra MiB, {pass_name}, {BUDGET_CASE}",
            extra_memory(BUDGET_CASE, BOX, pass_name, threads),
            BUDGET,
        )
        for pass_name in PASSES
    ]
