"""Times the operator and a training step with and without XLA.

    python -m benchmarks.compiled

Needs TensorFlow and JAX. The calls of the operator share one process, and so do the training steps;
all calls of a process run in every round. Figures are medians with quartiles, and ratios of medians
with their budgets.
"""

from __future__ import annotations

import sys

import rich.table

from benchmarks import command_line, machine, timing, workers
from benchmarks.acceptance.budget import Check, all_kept, at_least, table_of
from benchmarks.cases import FORWARD, FORWARD_BACKWARD, PASSES
from benchmarks.compiled import operator
from benchmarks.compiled.operator import JAX, JAX_PORTABLE, TF, TF_JIT, Key
from benchmarks.suites import STANDARD
from benchmarks.tables import console

SIZE = 31
MODEL = {"batch": 8, "size": 48, "channels": 64, "blocks": 4}


def checks(times: dict[Key, list[float]], steps: dict[str, list[float]]) -> list[Check]:
    """Returns the figures with their budgets; some have none."""
    from benchmarks.compiled import training

    def ratio(pass_name: str, one: str, other: str) -> float:
        return timing.ratio(times[pass_name, one], times[pass_name, other]).median

    return [
        Check(
            "training step, XLA / plain",
            timing.ratio(steps[training.XLA], steps[training.PLAIN]).median,
            1.05,
        ),
        *(Check(f"{name}, {TF_JIT} / {TF}", ratio(name, TF_JIT, TF)) for name in PASSES),
        Check(f"{FORWARD}, {JAX} / {TF}", ratio(FORWARD, JAX, TF)),
        Check(f"{FORWARD_BACKWARD}, {JAX} / {TF}", ratio(FORWARD_BACKWARD, JAX, TF), 1.2),
        at_least(f"{FORWARD}, {JAX_PORTABLE} / {JAX}", ratio(FORWARD, JAX_PORTABLE, JAX), 5),
        at_least(
            f"{FORWARD_BACKWARD}, {JAX_PORTABLE} / {JAX}",
            ratio(FORWARD_BACKWARD, JAX_PORTABLE, JAX),
            5,
        ),
    ]


def times_table(times: dict[Key, list[float]], steps: dict[str, list[float]]) -> rich.table.Table:
    """Returns a table of all times in milliseconds."""
    table = rich.table.Table(title=f"{STANDARD}, box {SIZE}; training step of {MODEL}")
    for column in ("pass", "computed by", "ms"):
        table.add_column(column)
    rows = [*times.items(), *((("training step", name), s) for name, s in steps.items())]
    for (pass_name, name), seconds in rows:
        table.add_row(pass_name, name, f"{timing.spread([1e3 * s for s in seconds]):.2f}")
    return table


def main(argv: list[str] | None = None) -> int:
    """Measures in new processes, prints the tables and returns the exit status."""
    parser = command_line.make_parser("compiled", __doc__)
    add = parser.add_argument
    add("--rounds", type=command_line.positive, default=15, help="rounds of each timing")
    add("--strict", action="store_true", help="exit with 1 if a budget is missed")
    add("--output", type=command_line.new_file, help="a file for all samples (.json)")
    args = parser.parse_args(argv)
    from benchmarks.compiled import training

    description = command_line.print_machine()
    # JAX uses one thread per processor.
    threads = workers.default_threads()
    with workers.Worker(threads, operator.ENVIRONMENT) as worker:
        times = worker.call(operator.measure, STANDARD, SIZE, args.rounds)
    steps = workers.in_fresh_process(threads, training.measure, **MODEL, rounds=args.rounds)
    console.print(times_table(times, steps))
    found = checks(times, steps)
    console.print(table_of("compiled", [found]))
    if args.output:
        samples = {f"{pass_name}, {name}": s for (pass_name, name), s in times.items()}
        machine.write_report(args.output, description, {"operator": samples, "training": steps})
    return 1 if args.strict and not all_kept([found]) else 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
