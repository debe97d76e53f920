"""Exports the model of a run folder as a SavedModel that takes pictures of any size.

    python -m examples.pose.export --run runs/demo --output exported/pose/1

The letterbox and the decoding of the heatmaps are inside, so that a client sends pictures and gets
joints in their pixels. The SavedModel loads wherever the library of box operators was loaded
before, by `import tf_boxconv` or by `tf.load_op_library` alone. After writing, a fresh process
loads it the second way, and its answers are compared with the Keras model's.
"""

import argparse
import sys

import rich.console
import rich.table
import tensorflow as tf

import tf_boxconv
from examples.pose.cli import command_line, interruption
from examples.pose.inference import predictor as predictors
from examples.pose.inference.exporter import export, require_free
from examples.pose.inference.signatures import (
    ENCODED_SIGNATURE,
    IMAGES_SIGNATURE,
)


def add_predictor_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what every command that exports a predictor asks of it."""
    parser.add_argument("--run", required=True, help="run folder that holds the trained model")
    predictors.add_settings_arguments(parser)
    parser.add_argument(
        "--portable",
        action="store_true",
        help="stock operations only: any TensorFlow and any model server runs it, more slowly",
    )


def load_predictor(arguments: argparse.Namespace) -> predictors.PosePredictor:
    """The predictor that those arguments ask for."""
    settings = predictors.settings_of(arguments)
    return predictors.load_run(arguments.run, **settings).with_portable(arguments.portable)


def main(argv=None) -> None:
    """The command `python -m examples.pose.export`."""
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
    add_predictor_arguments(parser)
    arguments = parser.parse_args(argv)
    tf.get_logger().setLevel("ERROR")
    with interruption.explain_stop(lambda: "Nothing was written."):
        require_free(arguments.output, arguments.overwrite)
        predictor = load_predictor(arguments)
        differences = export(predictor, arguments.output, arguments.overwrite)
    _print_summary(arguments.output, differences, predictor)


def _print_summary(output: str, differences: dict, predictor: predictors.PosePredictor) -> None:
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
    table.add_row(ENCODED_SIGNATURE, "image_bytes: JPEG or PNG files [N]", outputs)
    console.print(table)
    how = "with" if predictor.flip_test else "without"
    console.print(f"It predicts {how} flip test, decoding {predictor.decoding}.")
    if portable:
        console.print("It has stock operations only: any TensorFlow runs it.")
        return
    console.print(
        "Before it is loaded, TensorFlow needs the operators: `import tf_boxconv`, or "
        "`tf.load_op_library` of\n" + str(tf_boxconv.library_path()),
        soft_wrap=True,
    )


if __name__ == "__main__":
    sys.exit(command_line.run(main))
