"""Exports a run's model as a new version for TensorFlow ModelServer.

    python -m examples.serving.export --run runs/demo --models models

The first call writes `models/pose/1`, the next one `models/pose/2`, and so on. The server watches
for new versions. It never sees an incomplete one, because a folder gets its version number last.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from examples.pose.cli import command_line, interruption, prediction_arguments

if TYPE_CHECKING:
    from examples.pose.inference.predictor import PosePredictor

# (height, width) of the pictures in the warm-up requests.
WARMUP_SIZES = ((480, 640), (96, 96))


def next_version(model: Path) -> Path:
    """Returns the folder of the version after the latest one in a model's folder."""
    entries = model.iterdir() if model.is_dir() else ()
    versions = [int(entry.name) for entry in entries if entry.name.isdecimal()]
    return model / str(max(versions, default=0) + 1)


def export_version(predictor: "PosePredictor", model) -> Path:
    """Exports a predictor with warm-up requests as the next version in a model's folder.

    Args:
        predictor: The predictor to export.
        model: The model's folder, such as `models/pose`. Its name becomes the model's name.

    Returns:
        The folder of the new version.

    Raises:
        ExportError: See `examples.pose.inference.exporter.export`.
        ServingApiError: The package `tensorflow-serving-api` is not installed.
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
    """Makes the parser of `examples.serving.export`."""
    parser = command_line.Parser(
        prog="python -m examples.serving.export", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    prediction_arguments.add_predictor_arguments(parser)
    add(
        "--models",
        type=command_line.new_folder,
        required=True,
        help="folder that contains a folder for each served model",
    )
    add("--name", default="pose", help="the model's name")
    add(
        "--portable",
        action="store_true",
        help="use TensorFlow's own operations only: any model server runs the export, but more "
        "slowly",
    )
    return parser


def main(argv=None) -> None:
    """The command `python -m examples.serving.export`."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    if arguments.name.strip() in ("", ".", "..") or "/" in arguments.name:
        parser.error(f"--name must be the name of a folder, got {arguments.name!r}")
    if "://" in arguments.models:
        parser.error(f"--models must be a folder of this machine, got {arguments.models}")
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    with interruption.explain_stop(lambda: "No version was written."):
        predictor = prediction_arguments.load_predictor(arguments).with_portable(arguments.portable)
        model = Path(arguments.models).expanduser() / arguments.name
        version = export_version(predictor, model)
    print(f"Exported and checked, with warm-up requests: {version}")


if __name__ == "__main__":
    sys.exit(command_line.run(main))
