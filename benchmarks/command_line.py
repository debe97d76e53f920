"""What the commands share: the form of their help, and the machine at the head of their reports."""

from __future__ import annotations

import argparse

from benchmarks import machine
from benchmarks.tables import console


def make_parser(module: str, doc: str | None, epilog: str | None = None) -> argparse.ArgumentParser:
    """The parser of `python -m benchmarks.<module>`, whose help is the module's docstring."""
    return argparse.ArgumentParser(
        prog=f"python -m benchmarks.{module}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=epilog,
    )


def print_machine() -> dict[str, str]:
    """Prints what the figures are measured on; returns it, for the report."""
    description = machine.describe()
    console.print(machine.summary(description), markup=False)
    return description
