"""Parameters and multiply-adds of the pose networks, counted layer by layer.

    python -m examples.pose.model_cost --image_size 96 --kernel_size 7

A convolution costs its kernel's size for every output; `DepthwiseBoxConv2D` costs
`BOX_MULTIPLY_ADDS` for every output whatever the size of the box, much as a 3x3 kernel (9), which
is also what it takes in time. As is usual, normalisation, activation, addition and resizing are not
counted.
"""

import argparse
import math
import sys

import keras
import rich.console
import rich.table
from keras import layers

from examples.pose import command_line, models
from examples.pose.errors import as_user_error
from tf_boxconv.layers import DepthwiseBoxConv2D

# Per output: prefix sums down the columns and along the row (2), two interpolated prefix rows (4)
# and, at the fractional left and right edges, two interpolated reads (2). Differences and the
# division by the area join in as the addition of a multiply-add.
BOX_MULTIPLY_ADDS = 8


def multiply_adds(model: keras.Model) -> int:
    """Counts the multiply-adds of one image through a functional model with fixed image size.

    Args:
        model: Made of the layers that `examples.pose.models` uses.

    Raises:
        TypeError: A layer with weights is of a type that this function does not know.
    """
    return sum(_layer_multiply_adds(layer) for layer in model.layers)


def _layer_multiply_adds(layer: keras.Layer) -> int:
    if isinstance(layer, layers.DepthwiseConv2D):
        return math.prod(layer.kernel_size) * math.prod(layer.output.shape[1:])
    if isinstance(layer, layers.Conv2D):
        return math.prod(layer.kernel.shape[:3]) * math.prod(layer.output.shape[1:])
    if isinstance(layer, DepthwiseBoxConv2D):
        return BOX_MULTIPLY_ADDS * math.prod(layer.output.shape[1:])
    if layer.weights and not isinstance(layer, layers.BatchNormalization):
        raise TypeError(f"No rule to count multiply-adds of {type(layer).__name__} {layer.name!r}.")
    return 0


def main(argv: list[str] | None = None) -> None:
    """Prints a table of all networks with each context."""
    parser = command_line.Parser(
        prog="python -m examples.pose.model_cost",
        description="Parameters and multiply-adds of the pose networks.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--model", nargs="+", choices=tuple(models.MODELS), help="which (all)")
    parser.add_argument("--image_size", type=command_line.positive, default=96, help="pixels")
    for name in ("width", "boxes", "kernel_size"):
        parser.add_argument(
            f"--{name}", type=command_line.positive, help="as in examples.pose.train"
        )
    arguments = vars(parser.parse_args(argv))
    names = arguments.pop("model") or tuple(models.MODELS)
    table = rich.table.Table(title=f"images of {arguments['image_size']} pixels")
    for heading in ("model", "context", "parameters", "multiply-adds"):
        table.add_column(heading, justify="left" if heading in ("model", "context") else "right")
    for name in names:
        for context in models.CONTEXTS:
            with as_user_error(ValueError):
                model = models.build(name, context=context, **arguments)
            cost = f"{multiply_adds(model) / 1e6:.1f} million"
            table.add_row(name, context, f"{model.count_params():,}", cost)
        table.add_section()
    rich.console.Console().print(table)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
