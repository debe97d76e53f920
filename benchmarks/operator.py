"""Times the box convolution and its rivals: filters of TensorFlow and OpenCV, and a copy.

    python -m benchmarks.operator                                # time against kernel size
    python -m benchmarks.operator --suite planes --threads 1 2 --output build/benchmarks

Both the forward pass and the forward pass with all gradients are timed. All candidates of a suite
run once in every round, so a machine whose speed drifts affects all of them equally. Tables show
the median time with quartiles, and the ratio to TensorFlow's 3x3 depthwise convolution and to
copying the images. A ratio is that of the medians; its quartiles are those of the ratios within the
rounds. Each number of threads runs in its own process.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks import command_line, results, workers
from benchmarks.cases import PASSES
from benchmarks.suites import SUITES, Suite
from benchmarks.tables import console, print_run


def run_suite(name: str, suite: Suite, threads: int, rounds: int) -> list[results.Run]:
    """Times both passes of a suite in a new process."""
    from benchmarks import measure

    runs = []
    with workers.Worker(threads) as worker:
        for pass_name in PASSES:
            title = f"{name}, {pass_name}"
            times, skipped = worker.call(measure.measure, suite.entries, pass_name, rounds, title)
            runs.append(results.Run(name, threads, pass_name, times, skipped))
    return runs


def main(argv: list[str] | None = None) -> None:
    """Measures, prints the machine and the tables, and writes files and pictures."""
    parser = command_line.make_parser(
        "operator",
        __doc__,
        epilog="suites:\n" + "\n".join(f"  {name}: {s.title}" for name, s in SUITES.items()),
    )
    add = parser.add_argument
    add("--suite", default="sizes", choices=(*SUITES, "all"), help="what to time")
    add("--rounds", type=command_line.positive, default=15, help="rounds over all candidates")
    add(
        "--threads",
        type=command_line.positive,
        nargs="+",
        default=[workers.default_threads()],
        help="numbers of threads, each in its own process",
    )
    add(
        "--output",
        type=command_line.new_folder,
        help="folder for results.json, results.csv and the pictures",
    )
    args = parser.parse_args(argv)
    from benchmarks import plots, rivals

    output = Path(args.output) if args.output else None

    description = command_line.print_machine()
    console.print(f"{args.rounds} rounds. {rivals.SKIP_RULE}", style="dim", markup=False)
    if output:
        output.mkdir(parents=True, exist_ok=True)

    runs = []
    for name in SUITES if args.suite == "all" else [args.suite]:
        for threads in args.threads:
            suite_runs = run_suite(name, SUITES[name], threads, args.rounds)
            for run in suite_runs:
                print_run(run, SUITES[name].title)
            runs += suite_runs
            if output:
                # Write after every suite, so that an interrupted run keeps the finished ones.
                plots.draw(SUITES[name], suite_runs, output / f"{name}_threads{threads}.png")
                results.write_json(output / "results.json", description, runs)
                results.write_csv(output / "results.csv", runs)
    if output:
        console.print(f"written: {output}")


if __name__ == "__main__":
    sys.exit(command_line.run(main))
