"""Exports a run's model as the next version of a model that TensorFlow ModelServer serves.

    python -m examples.serving.export --run runs/demo --models models

writes `models/pose/1`, then `models/pose/2`, and so on. The server looks for new versions by
itself; it sees one only when it is whole, because the folder gets its name last.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from examples.pose.cli import command_line, interruption, prediction_arguments

if TYPE_CHECKING:
    from examples.pose.inference.predictor import PosePredictor

# (height, width) of the pictures that the server warms up with.
WARMUP_SIZES = ((480, 640), (96, 96))


def next_version(model: Path) -> Path:
    """The folder of the version after the latest in a model's folder."""
    entries = model.iterdir() if model.is_dir() else ()
    versions = [int(entry.name) for entry in entries if entry.name.isdecimal()]
    return model / str(max(versions, default=0) + 1)


def export_version(predictor: "PosePredictor", model) -> Path:
    """Writes a predictor, with warm-up requests, as the next version in a model's folder.

    Args:
        predictor: what to export.
        model: the model's folder, such as `models/pose`; its name is the model's.

    Returns:
        The folder written.

    Raises:
        ExportError: see `examples.pose.export.export`.
        ServingApiError: the protocol buffers of TensorFlow Serving are not installed.
    """
    from examples.pose.inference import exporter
    from examples.serving import request_files, warmup

    version = next_version(Path(model))

    def add_warmup(folder: Path) -> None:
        warmup.write_warmup(
            folder, version.parent.name, request_files.generated_pictures(WARMUP_SIZES)
        )

    exporter.export(predictor, version, add_files=add_warmup)
    return version


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = command_line.Parser(
        prog="python -m examples.serving.export", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    prediction_arguments.add_predictor_arguments(parser)
    add(
        "--models",
        type=command_line.new_folder,
        required=True,
        help="folder of all models that the server serves",
    )
    add("--name", default="pose", help="the model's name")
    return parser


def main(argv=None) -> None:
    """The command `python -m examples.serving.export`."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    if arguments.name.strip() in ("", ".", "..") or "/" in arguments.name:
        parser.error(f"--name must be the name of a folder, got {arguments.name!r}")
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    with interruption.explain_stop(lambda: "No version was written."):
        predictor = prediction_arguments.load_predictor(arguments)
        version = export_version(predictor, Path(arguments.models) / arguments.name)
    print(f"Exported, checked, and with warm-up requests: {version}")


if __name__ == "__main__":
    sys.exit(command_line.run(main))
