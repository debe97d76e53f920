"""Exports the model of a run folder for other programs: pictures of any size in, joints out.

    python -m examples.pose.export --run runs/demo --output exported/pose/1
    python -m examples.pose.export --run runs/demo --output pose.onnx --format onnx

The export contains the letterbox and the decoding of heatmaps, so that a client sends pictures and
receives joints in pixels of these pictures. `--format saved_model` loads in any process that has
loaded the library of box operators, by `import tf_boxconv` or by `tf.load_op_library` alone; all
other formats need no library. A fresh process without `tf_boxconv` loads each new SavedModel, and
its answers are compared with those of the Keras model.
"""

import argparse
import itertools
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import rich.console
import rich.table

from examples.pose import datasets
from examples.pose.cli import command_line, interruption, prediction_arguments
from examples.pose.cli.errors import as_user_error
from examples.pose.inference.signatures import (
    BATCHED_SIGNATURE,
    ENCODED_SIGNATURE,
    IMAGES_SIGNATURE,
)

if TYPE_CHECKING:
    import numpy as np

    from examples.pose.inference.predictor import PosePredictor

# The same names as in `tf_boxconv.exporting.FORMATS`. Importing that would make `--help` slow.
FORMATS = ("saved_model", "saved_model_portable", "litert", "onnx", "openvino", "tfjs")
QUANTIZATIONS = ("float16", "dynamic_range", "int8")
CALIBRATION_PICTURES = 100
_OUTPUTS = "joints [N, J, 2] in pixels\nscores [N, J]"


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser of `examples.pose.export`."""
    parser = command_line.Parser(
        prog="python -m examples.pose.export",
        description="Export a trained pose model for TensorFlow or another runtime.",
    )
    parser.add_argument(
        "--output",
        required=True,
        help="folder to write, or file for litert (.tflite) and onnx (.onnx); a model server wants "
        "a folder that ends in a version number, as in pose/1",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="saved_model",
        help="saved_model needs the library of box operators; all others need their runtime only",
    )
    parser.add_argument(
        "--quantize",
        choices=QUANTIZATIONS,
        help="of litert: smaller weights (float16, dynamic_range), or a network in 8-bit integers, "
        f"measured on {CALIBRATION_PICTURES} training pictures of the run's data set (int8)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an earlier export in the same format"
    )
    prediction_arguments.add_predictor_arguments(parser)
    command_line.add_data_arguments(parser)
    return parser


def main(argv=None) -> None:
    """The command `python -m examples.pose.export`."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    if arguments.quantize and arguments.format != "litert":
        parser.error(f"--quantize is for --format litert only, got --format {arguments.format}")
    given = command_line.given_data_arguments(arguments)
    if given and arguments.quantize != "int8":
        parser.error(f"{given[0]} is for --quantize int8, which measures on training pictures")
    import tensorflow as tf

    from examples.pose.inference import exporter

    tf.get_logger().setLevel("ERROR")
    with interruption.explain_stop(lambda: "Nothing was written."):
        exporter.require_free(arguments.output, arguments.overwrite, arguments.format)
        predictor = prediction_arguments.load_predictor(arguments)
        if arguments.format.startswith("saved_model"):
            predictor = predictor.with_portable(arguments.format == "saved_model_portable")
            differences = exporter.export(predictor, arguments.output, arguments.overwrite)
            _print_saved_model(arguments.output, differences, predictor)
        else:
            _export_to_runtime(predictor, arguments)


def _export_to_runtime(predictor: "PosePredictor", arguments: argparse.Namespace) -> None:
    from examples.pose.inference import exporter

    # Read before the conversion, whose errors would hide those of the data set.
    pictures = list(_training_pictures(arguments)) if arguments.quantize == "int8" else None
    exporter.export_to_runtime(
        predictor,
        arguments.output,
        arguments.format,
        arguments.quantize,
        pictures,
        arguments.overwrite,
    )
    how = f"{arguments.format}, {arguments.quantize or 'float32'}"
    table = rich.table.Table("input", "outputs", title=arguments.output, title_justify="left")
    table.add_row("images: uint8 [N, H, W, 3]", _OUTPUTS)
    console = rich.console.Console(highlight=False, markup=False)
    console.print(table)
    console.print(f"{how}. {_settings(predictor)}")


def _training_pictures(arguments: argparse.Namespace) -> "Iterator[np.ndarray]":
    """Yields the first training pictures of a run's data set, uint8 `[height, width, 3]`."""
    from examples.pose.inference import model_files

    run = model_files.find_run(arguments.run)
    data_dir, prepared_dir, files = command_line.data_places(arguments, run.dataset, run.config)
    with as_user_error(ValueError, FileNotFoundError):
        dataset, _ = datasets.load(
            run.dataset, "train", data_dir, prepared_dir, arguments.skip_broken, files
        )
    for example in itertools.islice(dataset.as_numpy_iterator(), CALIBRATION_PICTURES):
        yield example["image"]


def _settings(predictor: "PosePredictor") -> str:
    with_or_without = "with" if predictor.flip_test else "without"
    return f"It predicts {with_or_without} flip test, decoding {predictor.decoding}."


def _print_saved_model(output: str, differences: dict, predictor: "PosePredictor") -> None:
    import tf_boxconv

    portable = predictor.portable
    console = rich.console.Console(highlight=False, markup=False)
    console.print(
        f"Loaded again in a fresh process with{'out' if portable else ''} the operator library: "
        f"joints differ from the Keras model's by at most {differences['joints']:.2g} pixels, "
        f"scores by {differences['scores']:.2g}."
    )
    table = rich.table.Table(title=f"SavedModel {output}", title_justify="left")
    for heading in ("signature", "input", "outputs"):
        table.add_column(heading)
    table.add_row(IMAGES_SIGNATURE, "images: uint8 [N, H, W, 3]", _OUTPUTS)
    files = "image_bytes: picture files [N]"
    table.add_row(ENCODED_SIGNATURE, files, _OUTPUTS)
    table.add_row(BATCHED_SIGNATURE, files, f"{_OUTPUTS}\ndecoded [N]")
    console.print(table)
    console.print(_settings(predictor))
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
