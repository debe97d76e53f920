"""Compares the layer BoxConv2D with Keras's SeparableConv2D and Conv2D: time and parameters.

    python -m benchmarks.layers

Each layer has as many filters as its input has channels. All layers run in every round. A cell
shows the median time in milliseconds and its ratio to Conv2D 3x3, with quartiles.
"""

from __future__ import annotations

import sys

import rich.table

from benchmarks import command_line, machine, timing, workers
from benchmarks.cases import PASSES
from benchmarks.tables import console, threads_text

SHAPES = ((4, 64, 64, 64), (16, 48, 48, 32), (1, 128, 128, 64))


def table_of(times, parameters, shape, threads: int) -> rich.table.Table:
    """Returns the table of one input shape."""
    from benchmarks.layer_times import BASE, LAYERS

    table = rich.table.Table(title=f"float32 {list(shape)}, {threads_text(threads)}")
    table.add_column("layer")
    for name in ("parameters", *(f"{pass_name}, ms" for pass_name in PASSES)):
        table.add_column(name, justify="right")
    for name in LAYERS:
        cells = [
            _cell(times[shape, pass_name, name], times[shape, pass_name, BASE])
            if (shape, pass_name, name) in times
            else ""
            for pass_name in PASSES
        ]
        table.add_row(name, f"{parameters[shape, name]:,}", *cells)
    return table


def _cell(seconds, base) -> str:
    milliseconds = timing.spread(seconds).median * 1e3
    return f"{milliseconds:.3g}, x {timing.ratio(seconds, base):.2f}"


def main(argv: list[str] | None = None) -> None:
    """Measures in a new process and prints a table for each shape."""
    parser = command_line.make_parser("layers", __doc__)
    add = parser.add_argument
    add("--rounds", type=command_line.positive, default=15, help="rounds over all layers")
    add(
        "--threads",
        type=command_line.positive,
        default=workers.default_threads(),
        help="threads of TensorFlow",
    )
    add("--output", type=command_line.new_file, help="a file for all samples (.json)")
    arguments = parser.parse_args(argv)
    from benchmarks import layer_times

    description = command_line.print_machine()
    times, parameters = workers.in_fresh_process(
        arguments.threads, layer_times.measure, SHAPES, arguments.rounds
    )
    for shape in SHAPES:
        console.print(table_of(times, parameters, shape, arguments.threads))
    if arguments.output:
        samples = {f"{list(shape)}, {p}, {name}": s for (shape, p, name), s in times.items()}
        machine.write_report(
            arguments.output, description, {"threads": arguments.threads, "seconds": samples}
        )


if __name__ == "__main__":
    sys.exit(command_line.run(main))
