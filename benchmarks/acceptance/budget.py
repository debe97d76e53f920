"""A measured figure and its budget."""

from __future__ import annotations

import dataclasses

import rich.table


@dataclasses.dataclass(frozen=True)
class Check:
    """One measured figure.

    Attributes:
        name: Description of the figure.
        measured: The figure.
        budget: The maximum, or the minimum with `at_least`. `None` if there is no budget.
        at_least: Whether the budget is a minimum.
    """

    name: str
    measured: float
    budget: float | None = None
    at_least: bool = False

    @property
    def kept(self) -> bool:
        """Whether the budget is kept. NaN keeps no budget."""
        if self.budget is None:
            return True
        return self.measured >= self.budget if self.at_least else self.measured <= self.budget


def at_least(name: str, measured: float, budget: float) -> Check:
    """Returns a figure whose budget is a minimum."""
    return Check(name, measured, budget, at_least=True)


def all_kept(runs: list[list[Check]]) -> bool:
    """Whether every budget is kept in every run."""
    return all(check.kept for checks in runs for check in checks)


def table_of(title: str, runs: list[list[Check]]) -> rich.table.Table:
    """Returns a table of the same checks in several runs."""
    table = rich.table.Table(title=title)
    table.add_column("figure")
    measured = ["measured"] if len(runs) == 1 else [f"run {i + 1}" for i in range(len(runs))]
    for name in (*measured, "budget", ""):
        table.add_column(name, justify="right")
    for checks in zip(*runs, strict=True):
        table.add_row(
            checks[0].name,
            *(f"{check.measured:.3g}" for check in checks),
            _budget_text(checks[0]),
            _verdict(checks),
        )
    return table


def _budget_text(check: Check) -> str:
    if check.budget is None:
        return "-"
    return f"{'>=' if check.at_least else '<='} {check.budget:.3g}"


def _verdict(checks: tuple[Check, ...]) -> str:
    if checks[0].budget is None:
        return ""
    missed = sum(not check.kept for check in checks)
    if not missed:
        return "[green]ok"
    return "[red]MISSED" if missed == len(checks) else f"[red]MISSED in {missed} of {len(checks)}"
