"""A measured figure beside its budget."""

from __future__ import annotations

import dataclasses

import rich.table


@dataclasses.dataclass(frozen=True)
class Check:
    """One figure.

    Attributes:
        what: What it is.
        measured: The figure.
        budget: What it may be at most, or should be at least; `None`: it is shown only.
        at_least: Whether the budget is a lower bound.
    """

    what: str
    measured: float
    budget: float | None = None
    at_least: bool = False

    @property
    def kept(self) -> bool:
        """Whether the budget is kept; a figure that is not a number keeps none."""
        if self.budget is None:
            return True
        return self.measured >= self.budget if self.at_least else self.measured <= self.budget


def at_least(what: str, measured: float, budget: float) -> Check:
    """A figure that should be at least its budget."""
    return Check(what, measured, budget, at_least=True)


def all_kept(runs: list[list[Check]]) -> bool:
    """Whether every budget is kept in every run."""
    return all(check.kept for checks in runs for check in checks)


def table_of(title: str, runs: list[list[Check]]) -> rich.table.Table:
    """The same checks of several runs, side by side."""
    table = rich.table.Table(title=title)
    table.add_column("what")
    measured = ["measured"] if len(runs) == 1 else [f"run {i + 1}" for i in range(len(runs))]
    for name in (*measured, "budget", ""):
        table.add_column(name, justify="right")
    for checks in zip(*runs, strict=True):
        table.add_row(
            checks[0].what,
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
