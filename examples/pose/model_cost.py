"""Prints the parameters and multiply-adds of the pose networks.

python -m examples.pose.model_cost --image_size 96 --kernel_size 7
"""

import sys

import rich.console
import rich.table

from examples.pose import models
from examples.pose.cli import command_line
from examples.pose.cli.errors import as_user_error


def main(argv: list[str] | None = None) -> None:
    """Prints a table of all networks with each context."""
    parser = command_line.Parser(
        prog="python -m examples.pose.model_cost",
        description="Parameters and multiply-adds of the pose networks.",
    )
    parser.add_argument(
        "--model", nargs="+", choices=models.NAMES, help="networks to count (default: all)"
    )
    parser.add_argument("--image_size", type=command_line.positive, default=96, help="pixels")
    for name in ("width", "boxes", "kernel_size"):
        parser.add_argument(
            f"--{name}",
            type=command_line.positive,
            help="as in examples.pose.train (default: the network's own)",
        )
    arguments = vars(parser.parse_args(argv))
    from examples.pose.evaluation import multiply_adds

    names = arguments.pop("model") or models.NAMES
    table = rich.table.Table(title=f"images of {arguments['image_size']} pixels")
    for heading in ("model", "context", "parameters", "multiply-adds"):
        table.add_column(heading, justify="left" if heading in ("model", "context") else "right")
    for name in names:
        for context in models.CONTEXTS:
            with as_user_error(ValueError):
                model = models.build(name, context=context, **arguments)
            cost = f"{multiply_adds.multiply_adds(model) / 1e6:.1f} million"
            table.add_row(name, context, f"{model.count_params():,}", cost)
        table.add_section()
    rich.console.Console().print(table)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
