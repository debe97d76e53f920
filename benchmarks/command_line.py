"""Parsers of the benchmarks, and the description of the machine at the head of a report.

Argument types, errors and signals are handled as in `examples.pose.cli.command_line`.
"""

from __future__ import annotations

import argparse

from benchmarks import machine
from benchmarks.tables import console
from examples.pose.cli.command_line import (
    Parser,
    integer,
    new_file,
    new_folder,
    positive,
    run,
    seed,
)

__all__ = [
    "integer",
    "make_parser",
    "new_file",
    "new_folder",
    "positive",
    "print_machine",
    "run",
    "seed",
]


def make_parser(module: str, doc: str | None, epilog: str | None = None) -> argparse.ArgumentParser:
    """Returns the parser of `python -m benchmarks.<module>`; `doc` becomes its help."""
    return Parser(
        prog=f"python -m benchmarks.{module}",
        description=doc,
        epilog=epilog,
    )


def print_machine() -> dict[str, str]:
    """Prints a description of the machine and returns it for the report."""
    description = machine.describe()
    console.print(machine.summary(description), markup=False)
    return description
