"""Shared by the benchmarks: parsers, and the description of the machine that heads a report.

Types of arguments, errors and signals are those of `examples.pose.command_line`.
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
    """The parser of `python -m benchmarks.<module>`, whose help is the module's docstring."""
    return Parser(
        prog=f"python -m benchmarks.{module}",
        description=doc,
        epilog=epilog,
    )


def print_machine() -> dict[str, str]:
    """Prints what the figures are measured on; returns it, for the report."""
    description = machine.describe()
    console.print(machine.summary(description), markup=False)
    return description
