"""Measures how 8-bit integers affect a pose network: PCK@0.2 of LiteRT exports and of Keras.

    python -m benchmarks.quantized_pose --run runs/lsp_box --data_dir DIR

The integer models are calibrated on photographs of the training split. All models are evaluated on
the whole test split, without flip test.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rich.table

from benchmarks.command_line import make_parser
from benchmarks.tables import console
from examples.pose import datasets
from examples.pose.cli import command_line
from examples.pose.cli.errors import as_user_error

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from examples.pose.datasets.in_memory import Photographs

QUANTIZATIONS = (None, "int8", "uint8")


class LiteRTModel:
    """The LiteRT export of a Keras model, with the model's interface."""

    def __init__(self, path: Path, model: keras.Model):
        from benchmarks.export_runtimes import LiteRT, Names

        self._run = LiteRT(path, names=Names(model.inputs[0].name))
        self._output_shape = model.output_shape

    def __call__(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Runs the images one by one, because the model was calibrated on single images."""
        import tensorflow as tf

        logits = tf.numpy_function(self._run_each, [images], tf.float32)
        return tf.ensure_shape(logits, self._output_shape)

    def _run_each(self, images: np.ndarray) -> np.ndarray:
        return np.concatenate([self._run(images[i : i + 1]) for i in range(len(images))])


def measure(
    model: keras.Model, calibration: Photographs, test: Photographs, skeleton
) -> dict[str, tuple[float, int]]:
    """Returns PCK@0.2 over all joints and bytes on disk, for Keras and each LiteRT export."""
    import tf_boxconv

    found = {"Keras": (_pck(model, test, skeleton), 0)}
    images = calibration.images.astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        for quantize in QUANTIZATIONS:
            path = Path(folder) / f"{quantize}.tflite"
            data = None if quantize is None else [images]
            tf_boxconv.export(model, path, "litert", quantize=quantize, representative_data=data)
            exported = LiteRTModel(path, model)
            name = f"LiteRT {quantize or 'float32'}"
            found[name] = _pck(exported, test, skeleton), path.stat().st_size
    return found


def _pck(model, photographs: Photographs, skeleton) -> float:
    from examples.pose.evaluation import accuracy

    return accuracy.evaluate_joints(model, photographs, skeleton, flip_test=False)["pck"]


def main(argv: list[str] | None = None) -> None:
    """Measures and prints the table."""
    parser = make_parser("quantized_pose", __doc__)
    parser.add_argument("--run", required=True, help="folder that examples.pose.train wrote")
    parser.add_argument(
        "--calibration",
        type=command_line.positive,
        default=200,
        help="number of photographs to calibrate on",
    )
    parser.add_argument(
        "--limit", type=command_line.positive, help="number of test photographs (all)"
    )
    command_line.add_data_arguments(parser)
    args = parser.parse_args(argv)
    from examples.pose.datasets import in_memory
    from examples.pose.evaluation import accuracy
    from examples.pose.training.run_folder import RunFolder

    run = RunFolder(args.run)
    name, size = run.dataset, run.config["image_size"]
    places = command_line.data_places(args, run.config)
    with as_user_error(ValueError):
        data_dir, prepared_dir, files = places
        dataset, _ = datasets.load(name, "train", data_dir, prepared_dir, False, files)
    calibration = in_memory.read_photographs(dataset, size, f"reading {name} train")
    test, skeleton = accuracy.read_test_photographs(name, size, *places)
    model = run.load_model()
    found = measure(model, calibration[: args.calibration], test[: args.limit], skeleton)
    table = rich.table.Table(title=f"{args.run} on {name} test")
    table.add_column("model")
    table.add_column("PCK@0.2", justify="right")
    table.add_column("MB", justify="right")
    for title, (pck, size) in found.items():
        table.add_row(title, f"{pck:.1f}", f"{size / 1e6:.2f}" if size else "")
    console.print(table)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
