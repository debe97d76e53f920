"""Prints results as tables."""

from __future__ import annotations

import itertools

import rich.console
import rich.table

from benchmarks import results
from benchmarks.cases import Case
from benchmarks.results import Row, Run

# In a file or pipe, rich would cut tables at 80 columns.
console = rich.console.Console()
if not console.is_terminal:
    console = rich.console.Console(width=150)


def print_run(run: Run, title: str) -> None:
    """Prints a row for every candidate, grouped by case, and the candidates that were skipped."""
    console.print(table_of(run, title))
    if run.skipped:
        console.print("not timed: " + "; ".join(_skipped(run)), style="dim", markup=False)


def table_of(run: Run, title: str) -> rich.table.Table:
    """Returns the table of one run. If there is only one case, the title names it."""
    cases = _cases(run)
    several = len(cases) > 1
    if not several:
        title += f", {cases[0]}"
    table = rich.table.Table(title=f"{title}: {run.pass_name}, {threads_text(run.threads)}")
    for name in ["case", "operator"] if several else ["operator"]:
        table.add_column(name)
    columns = ["ms (quartiles)", "ns / output", "x depthwise 3", "x copy"]
    for name in columns + (["per output, x first case"] if several else []):
        table.add_column(name, justify="right")
    for case, group in itertools.groupby(results.rows(run), key=lambda row: row.key.case):
        table.add_section()
        for i, row in enumerate(group):
            case_cell = ["" if i else str(case)] if several else []
            table.add_row(*case_cell, *_cells(row, several))
    return table


def threads_text(threads: int) -> str:
    """Returns "1 thread", "2 threads" and so on."""
    return "1 thread" if threads == 1 else f"{threads} threads"


def _cases(run: Run) -> list[Case]:
    return list(dict.fromkeys(key.case for key in run.times))


def _cells(row: Row, several: bool) -> list[str]:
    cells = [
        str(row.key.candidate),
        f"{row.milliseconds:.3g}",
        f"{row.nanoseconds_per_output:.3g}",
        f"{row.to_depthwise_3:.2f}",
        f"{row.to_copy:.2f}",
    ]
    if several:
        first = row.to_first_case
        cells.append("" if first is None else f"{first:.2f}")
    return cells


def _skipped(run: Run) -> list[str]:
    """Lists skipped candidates by reason. Names the cases unless all cases were skipped."""
    all_cases = len(_cases(run))
    cases: dict[tuple[str, str], list[str]] = {}
    for skipped in run.skipped:
        key = skipped.reason, str(skipped.key.candidate)
        cases.setdefault(key, []).append(str(skipped.key.case))
    reasons: dict[str, list[str]] = {}
    for (reason, candidate), names in cases.items():
        on_cases = "" if len(names) == all_cases else f" on {' and '.join(names)}"
        reasons.setdefault(reason, []).append(candidate + on_cases)
    return [f"{', '.join(candidates)} ({reason})" for reason, candidates in reasons.items()]
