"""Measures whether the project keeps its budgets of time, memory and precision.

    python -m benchmarks.acceptance
    python -m benchmarks.acceptance --only ratios memory --strict

Run it in the root of the repository, because precision is measured against the tests' float64
reference. By default, everything is measured in two complete runs, and the figures of both are
shown. Times are ratios of medians over rounds in which every candidate runs once.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
import time
from pathlib import Path

from benchmarks import command_line, machine
from benchmarks.acceptance.budget import Check, all_kept, table_of
from benchmarks.tables import console

# Each is a module of this package with a function `checks`.
SECTIONS = ("ratios", "shapes", "layers", "speedup", "precision", "threads", "memory")


def main(argv: list[str] | None = None) -> int:
    """Measures, prints the tables and returns the exit status."""
    parser = command_line.make_parser("acceptance", __doc__)
    add = parser.add_argument
    add("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="what to measure")
    add("--rounds", type=command_line.positive, default=15, help="rounds of each timing")
    add("--runs", type=command_line.positive, default=2, help="number of complete runs")
    add("--strict", action="store_true", help="exit with 1 if a budget is missed in any run")
    add("--output", type=command_line.new_file, help="a file for all figures (.json)")
    args = parser.parse_args(argv)

    description = command_line.print_machine()
    runs = [_run(number, args.only, args.rounds) for number in range(1, args.runs + 1)]
    for name in args.only:
        console.print(table_of(name, [run[name] for run in runs]))
    if args.output:
        _write(args.output, description, runs)
    kept = all_kept([checks for run in runs for checks in run.values()])
    return 1 if args.strict and not kept else 0


def _run(number: int, sections: list[str], rounds: int) -> dict[str, list[Check]]:
    found = {}
    for name in sections:
        start = time.monotonic()
        found[name] = importlib.import_module(f"{__package__}.{name}").checks(rounds)
        console.print(f"run {number}, {name}: {time.monotonic() - start:.0f} s", style="dim")
    return found


def _write(path: Path, description: dict[str, str], runs: list[dict[str, list[Check]]]) -> None:
    content = {
        "runs": [
            {name: [dataclasses.asdict(check) for check in checks] for name, checks in run.items()}
            for run in runs
        ],
    }
    machine.write_report(path, description, content)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
