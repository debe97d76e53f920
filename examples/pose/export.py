"""Exports the model of a run folder as a SavedModel that takes pictures of any size.

    python -m examples.pose.export --run runs/demo --output exported/pose/1

The SavedModel contains the letterbox and the decoding of heatmaps, so that a client sends pictures
and receives joints in pixels of these pictures. It loads in any process that has loaded the library
of box operators, by `import tf_boxconv` or by `tf.load_op_library` alone; with `--portable` it
needs no library. After writing, a fresh process without `tf_boxconv` loads the SavedModel, and its
answers are compared with those of the Keras model.
"""

import argparse
import sys
from typing import TYPE_CHECKING

import rich.console
import rich.table

from examples.pose.cli import command_line, interruption, prediction_arguments
from examples.pose.inference.signatures import (
    BATCHED_SIGNATURE,
    ENCODED_SIGNATURE,
    IMAGES_SIGNATURE,
)

if TYPE_CHECKING:
    from examples.pose.inference.predictor import PosePredictor


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser of `examples.pose.export`."""
    parser = command_line.Parser(
        prog="python -m examples.pose.export",
        description="Export a trained pose model as a SavedModel, and check that it reloads.",
    )
    parser.add_argument(
        "--output",
        required=True,
        help="folder to write; a model server wants it to end in a version number, as in pose/1",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the SavedModel of an earlier export"
    )
    prediction_arguments.add_predictor_arguments(parser)
    return parser


def main(argv=None) -> None:
    """The command `python -m examples.pose.export`."""
    arguments = make_parser().parse_args(argv)
    import tensorflow as tf

    from examples.pose.inference import exporter

    tf.get_logger().setLevel("ERROR")
    with interruption.explain_stop(lambda: "Nothing was written."):
        exporter.require_free(arguments.output, arguments.overwrite)
        predictor = prediction_arguments.load_predictor(arguments)
        differences = exporter.export(predictor, arguments.output, arguments.overwrite)
    _print_summary(arguments.output, differences, predictor)


def _print_summary(output: str, differences: dict, predictor: "PosePredictor") -> None:
    import tf_boxconv

    portable = predictor.portable
    console = rich.console.Console(highlight=False)
    console.print(
        f"Loaded again in a fresh process with{'out' if portable else ''} the operator library: "
        f"joints differ from the Keras model's by at most {differences['joints']:.2g} pixels, "
        f"scores by {differences['scores']:.2g}."
    )
    table = rich.table.Table(title=f"SavedModel {output}", title_justify="left")
    for heading in ("signature", "input", "outputs"):
        table.add_column(heading)
    outputs = "joints [N, J, 2] in pixels\nscores [N, J]"
    table.add_row(IMAGES_SIGNATURE, "images: uint8 [N, H, W, 3]", outputs)
    files = "image_bytes: picture files [N]"
    table.add_row(ENCODED_SIGNATURE, files, outputs)
    table.add_row(BATCHED_SIGNATURE, files, f"{outputs}\ndecoded [N]")
    console.print(table)
    with_or_without = "with" if predictor.flip_test else "without"
    console.print(f"It predicts {with_or_without} flip test, decoding {predictor.decoding}.")
    if portable:
        console.print("It is portable: it uses TensorFlow's own operations only.")
        return
    console.print(
        "Before loading it, load the box operators: `import tf_boxconv`, or `tf.load_op_library` "
        "of\n" + str(tf_boxconv.library_path()),
        soft_wrap=True,
    )


if __name__ == "__main__":
    sys.exit(command_line.run(main))
