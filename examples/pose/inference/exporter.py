"""Exports predictors: a SavedModel that is checked in a fresh process, or a file of a runtime."""

import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from PIL import Image

import tf_boxconv
from examples.pose import reload_check
from examples.pose.cli.errors import UserError
from examples.pose.inference import picture_model
from examples.pose.inference import predictor as predictors
from examples.pose.inference.signatures import (
    BATCHED_SIGNATURE,
    ENCODED_SIGNATURE,
    IMAGES_SIGNATURE,
    SETTINGS_ASSET,
    SKELETON_ASSET,
)
from tf_boxconv.exporting import FORMATS, saved_model_graph
from tf_boxconv.exporting import output as outputs
from tf_boxconv.exporting.errors import require_modules
from tf_boxconv.exporting.export import checked_format, output_kind

# Largest allowed differences between the reloaded model and the Keras model; joints in pixels.
# TensorFlow's graph optimiser fuses operations, which rounds differently.
TOLERANCES = {"joints": 1e-2, "scores": 1e-4}


class ExportError(UserError):
    """The model cannot be exported; the message says why."""


def export(
    predictor: predictors.PosePredictor,
    output,
    overwrite: bool = False,
    add_files: Callable[[Path], None] | None = None,
) -> dict:
    """Writes a predictor as a SavedModel. It appears at `output` only if it passes `check`.

    Signatures:

    * `serving_default`: `images`, uint8 `[batch, height, width, 3]`, to `joints`, float32
      `[batch, joints, 2]`, (x, y) in pixels, and `scores`, float32 `[batch, joints]`.
    * `serving_encoded`: `image_bytes`, string `[batch]`, JPEG, PNG, WebP or 24-bit BMP files of
      any sizes, to the same. The EXIF orientation is applied, so that joints are in pixels of the
      picture as viewers show it; see `encoded_images`. A file that cannot be decoded is an error.
    * `serving_batched`: the same, for servers that combine the requests of several clients. A file
      that cannot be decoded gets zeros and False in a third output, `decoded`, bool `[batch]`.

    The joints' names and limbs are in `assets/skeleton.json`, and whether the model uses the flip
    test, and its decoding, in `assets/settings.json`.

    Args:
        predictor: The predictor.
        output: Folder to write. It must not exist, or must be empty.
        overwrite: Whether to replace a SavedModel that `export` wrote before, if its folder holds
            no other files.
        add_files: Called with the temporary folder of the checked SavedModel, to add files to it.

    Returns:
        The result of `check`.

    Raises:
        ExportError: `output` is taken or cannot be written, or the written model fails `check`.
    """
    path = require_free(output, overwrite)
    try:
        with outputs.atomic(path, lambda: require_free(output, overwrite)) as written:
            _save(predictor, written)
            differences = check(predictor, written)
            if add_files:
                add_files(written)
    except OSError as error:
        raise ExportError(str(error)) from error
    return differences


def export_to_runtime(
    predictor: predictors.PosePredictor,
    output,
    format: str,
    quantize: str | None = None,
    pictures: Iterable[np.ndarray] | None = None,
    overwrite: bool = False,
) -> None:
    """Writes a predictor for a runtime other than TensorFlow.

    Input: `images`, uint8 `[batch, height, width, 3]`, of any size from 1x1 up. Outputs: as of
    `PosePredictor.predict_images`.

    Args:
        predictor: The predictor.
        output: File or folder to write.
        format: `"litert"`, `"onnx"`, `"openvino"` or `"tfjs"`; see `tf_boxconv.export`.
        quantize: See `tf_boxconv.export`. With `"int8"`, the network computes in integers; the
            letterbox and the decoding of heatmaps compute in float32.
        pictures: Typical pictures for `"int8"`, uint8 `[height, width, 3]`, of any sizes.
        overwrite: Whether to replace an earlier export in this format.

    Raises:
        ExportError: `output` is taken or cannot be written, or the converter is not installed or
            fails.
    """
    require_free(output, overwrite, format)
    integer = quantize == "int8"
    try:
        tf_boxconv.export(
            picture_model.picture_model(predictor),
            output,
            format,
            quantize=quantize,
            representative_data=(picture[np.newaxis] for picture in pictures) if integer else None,
            quantize_only=predictor.model.name if integer else None,
            overwrite=overwrite,
        )
    except (OSError, ValueError) as error:
        raise ExportError(str(error)) from error


def require_free(output, overwrite: bool, format: str = "saved_model") -> Path:
    """Returns the absolute path of `output`.

    Raises:
        ExportError: `output` is taken or is no name for this format, or the converter of the format
            is not installed.
    """
    if not overwrite and (Path(output) / "saved_model.pb").is_file():
        raise ExportError(f"{output} holds a SavedModel already; --overwrite replaces it.")
    try:
        checked_format(output, format, _KIND.argument)
        require_modules(FORMATS[format].needs, f"--format {format}")
        kind = _KIND
        if not format.startswith("saved_model"):
            kind = output_kind(format, argument=_KIND.argument, overwrite=_KIND.overwrite)
        return outputs.resolved_destination(output, kind, overwrite)
    except (FileExistsError, ImportError, ValueError) as error:
        raise ExportError(str(error)) from None


def _own_files(folder: Path) -> set[str]:
    """The files that `export` wrote into a folder; empty if it did not."""
    try:
        files = saved_model_graph.files(folder)
    except (OSError, DecodeError):
        return set()
    return files if f"assets/{SKELETON_ASSET}" in files else set()


_KIND = outputs.Kind(
    "a SavedModel that this command wrote", _own_files, argument="--output", overwrite="--overwrite"
)


def check(predictor: predictors.PosePredictor, saved_model) -> dict:
    """Compares a SavedModel, loaded in a fresh process without `tf_boxconv`, with the Keras model.

    The process loads the operator library first, unless the predictor is portable.

    Args:
        predictor: The predictor that was saved. Its functions run eagerly here, so that the
            comparison does not use the traced graphs that were saved.
        saved_model: Folder of the SavedModel.

    Returns:
        The largest absolute differences: `"joints"` in pixels, and `"scores"`.

    Raises:
        ExportError: The model does not load or run there, or differs by more than `TOLERANCES`.
    """
    feeds = _sample_feeds()
    functions = _signatures(predictor.with_portable(False))
    results = _run_in_fresh_process(saved_model, feeds, with_library=not predictor.portable)
    differences = {name: [] for name in TOLERANCES}
    for key, feed in feeds.items():
        outputs_by_name = functions[key.split("/")[0]].python_function(tf.constant(feed))
        for name in TOLERANCES:
            expected = outputs_by_name[name]
            difference = np.abs(results[f"{key}/{name}"] - expected.numpy())
            differences[name].append(difference.ravel())
    largest = {name: float(np.max(np.concatenate(differences[name]))) for name in TOLERANCES}
    for name, tolerance in TOLERANCES.items():
        if not largest[name] <= tolerance:  # Also true for NaN.
            raise ExportError(
                f"The reloaded model's {name} differ from the Keras model's by up to "
                f"{largest[name]:.3g}. Rounding explains at most {tolerance:g}."
            )
    return largest


def _save(predictor: predictors.PosePredictor, folder: Path) -> None:
    module = tf.Module()
    # The module must hold every variable that the signatures use. Holding the Keras model instead
    # would also save the functions of its layers, and loading those needs Keras and tf_boxconv.
    module.model_variables = [variable.value for variable in predictor.model.variables]
    with tempfile.TemporaryDirectory() as assets:
        contents = {
            SKELETON_ASSET: predictor.skeleton.to_metadata(),
            SETTINGS_ASSET: predictor.settings,
        }
        module.assets = []
        for name, content in contents.items():
            path = Path(assets) / name
            path.write_text(json.dumps(content, indent=2) + "\n")
            module.assets.append(tf.saved_model.Asset(str(path)))
        tf.saved_model.save(module, str(folder), signatures=_signatures(predictor))


def _signatures(predictor: predictors.PosePredictor) -> dict:
    return {
        IMAGES_SIGNATURE: predictor.predict_images,
        ENCODED_SIGNATURE: predictor.predict_encoded,
        BATCHED_SIGNATURE: predictor.predict_batched,
    }


def _sample_feeds() -> dict:
    """Random pictures of several sizes, in the form that `reload_check.run_signatures` takes."""
    random = np.random.default_rng(0)

    def picture(height, width):
        # Smooth, so that a heatmap has one peak rather than many of nearly the same height.
        coarse = random.integers(0, 256, size=(5, 5, 3), dtype=np.uint8)
        return np.asarray(Image.fromarray(coarse).resize((width, height), Image.BICUBIC))

    def encoded(image, file_format):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, file_format)
        return buffer.getvalue()

    images, files = IMAGES_SIGNATURE, ENCODED_SIGNATURE
    two_sizes = [encoded(picture(200, 37), "JPEG"), encoded(picture(64, 80), "PNG")]
    return {
        f"{images}/images/square": np.stack([picture(96, 96), picture(96, 96)]),
        f"{images}/images/wide": np.stack([picture(61, 140)]),
        f"{images}/images/empty": np.zeros((0, 61, 140, 3), np.uint8),
        f"{files}/image_bytes/two_sizes": np.array(two_sizes, dtype=object),
        f"{BATCHED_SIGNATURE}/image_bytes/one_damaged": np.array(
            [two_sizes[0], b"damaged", two_sizes[1]], dtype=object
        ),
    }


def _run_in_fresh_process(saved_model, feeds: dict, with_library: bool) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        feeds_path, results_path = Path(folder) / "feeds.npz", Path(folder) / "results.npz"
        np.savez(feeds_path, **feeds)
        command = [sys.executable, "-m", reload_check.__name__]
        if with_library:
            command += ["--library", str(tf_boxconv.library_path())]
        command += ["--saved_model", str(saved_model)]
        command += ["--feeds", str(feeds_path), "--results", str(results_path)]
        process = subprocess.run(
            command,
            cwd=Path(__file__).parents[3],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if process.returncode:
            raise ExportError(
                f"The SavedModel does not run in a fresh process (exit code {process.returncode}):"
                "\n" + "\n".join(process.stdout.splitlines()[-15:])
            )
        with np.load(results_path) as results:
            return dict(results)
