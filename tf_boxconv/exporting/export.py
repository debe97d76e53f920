"""`tf_boxconv.export`: checks its arguments, then calls the module that writes the format."""

from __future__ import annotations

import dataclasses
import importlib
import os
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import keras

from tf_boxconv.exporting import output
from tf_boxconv.exporting.errors import require_modules
from tf_boxconv.exporting.signature import input_signature, require_flat_outputs, require_weights

# Only these need `representative_data`, on which the converter measures the range of each tensor.
INTEGER_QUANTIZATIONS = ("int8", "uint8")
QUANTIZATIONS = (*INTEGER_QUANTIZATIONS, "float16", "dynamic_range")


@dataclasses.dataclass(frozen=True)
class Format:
    """The properties of a format that are known without importing its module.

    The module may import TensorFlow or a converter.

    Attributes:
        module: The module of `tf_boxconv.exporting` that writes and recognises the format.
        name: The name of the output in messages, with an article: `"an ONNX file"`.
        suffix: Suffix of the written file; `None` if the output is a folder.
        needs: Modules of the optional dependencies that must be installed for this format.
    """

    module: str
    name: str
    suffix: str | None = None
    needs: tuple[str, ...] = ()


FORMATS = {
    "saved_model": Format("saved_model", "a SavedModel"),
    "saved_model_portable": Format("saved_model", "a SavedModel"),
    "litert": Format("litert", "a LiteRT file", ".tflite"),
    "onnx": Format("onnx", "an ONNX file", ".onnx", ("onnx", "tf2onnx")),
    "openvino": Format("openvino", "an OpenVINO model", None, ("openvino",)),
    "tfjs": Format("tfjs", "a TensorFlow.js model"),
}
# Names that Keras and other libraries have for a format.
_OTHER_NAMES = {"tflite": "litert", "tf_saved_model": "saved_model", "tensorflowjs": "tfjs"}
# Suffixes of files in other formats. A folder with such a name would be misleading.
_OTHER_SUFFIXES = (
    *(".keras", ".h5", ".hdf5", ".pb", ".pbtxt", ".json", ".xml", ".bin", ".pt", ".pt2", ".pth"),
    *(".ckpt", ".npz", ".pkl", ".mlmodel", ".mlpackage", ".ort", ".safetensors", ".zip"),
)


def export(
    model: keras.Model,
    path: str | os.PathLike,
    format: str | None = None,
    *,
    input_shape: Sequence[int | None] | None = None,
    quantize: str | None = None,
    representative_data: Iterable[Any] | None = None,
    quantize_only: str | None = None,
    overwrite: bool = False,
) -> None:
    """Exports `model` for inference in another runtime.

    | format | output | runs in |
    | --- | --- | --- |
    | `"saved_model"` | a folder | TensorFlow with the op library; runs the compiled operator |
    | `"saved_model_portable"` | a folder | any TensorFlow, TF Serving, Triton |
    | `"litert"` | a `.tflite` file | LiteRT (TensorFlow Lite) |
    | `"onnx"` | an `.onnx` file | ONNX Runtime and others |
    | `"openvino"` | a folder with `model.xml` and `model.bin` | OpenVINO |
    | `"tfjs"` | a folder with `model.json` and weights | TensorFlow.js |

    All formats except `"saved_model"` use the portable path and run without this package. The
    portable path multiplies each plane by two matrices per box. If the size of the input is known,
    the exported model contains these matrices, which take `4 * (height**2 + width**2)` bytes per
    box at stride 1. Otherwise it computes them for each input.

    `"litert"`, `"onnx"`, `"openvino"` and `"tfjs"` compute in float32 under every dtype policy;
    float inputs and outputs are float32, too. SavedModels keep the types of the model.

    Export needs the TensorFlow backend of Keras. If the model runs on another backend, save it as
    `.keras` and load it in a process with the TensorFlow backend.

    Args:
        model: A built Keras model. A subclassed model must have been called once.
        path: Local path to write to; `~` is the home folder. The output appears there once it is
            complete. If the export fails, nothing at `path` changes.
        format: One of the above. `None` chooses `"onnx"` for a `path` that ends in `.onnx`,
            `"litert"` for `.tflite` and `"saved_model"` otherwise.
        input_shape: Shape of the input with the batch axis, like `(None, 256, 256, 3)`. It sets
            sizes that the model leaves undefined. Only for models with one input.
        quantize: Only for `"litert"`. `"int8"` or `"uint8"`: weights, arithmetic, inputs and
            outputs become 8-bit integers. `"dynamic_range"`: weights are stored as 8-bit integers,
            and inputs of the operations that use them are rounded to 8 bits at each call.
            `"float16"`: weights are stored as float16, arithmetic is in float32. `None` keeps
            float32.
        representative_data: Typical inputs, required with `"int8"` and `"uint8"`. The converter
            runs the model on them to measure the range of each tensor. An iterable of arrays with a
            batch axis. For a model with several inputs, an iterable of lists of arrays in the order
            of `model.inputs`, or of dicts of arrays by input name. About a hundred images are
            enough.
        quantize_only: Name of a layer of `model`, or of a model in it. With `"int8"`, only this
            layer computes in integers. All other layers, inputs and outputs keep their types, and
            inputs of any size are allowed.
        overwrite: bool, if `True`, an earlier export in the same format is replaced; either
            SavedModel format may replace the other. Nothing else is ever replaced: neither a file
            that this function did not write, nor a folder that also contains files that do not
            belong to the export.

    Raises:
        ValueError: For an invalid argument, or if the format cannot represent the model.
        TypeError: If `model` is not a Keras model or `path` is not a path.
        FileExistsError: If `path` exists and cannot be replaced.
        OSError: If `path` cannot be written.
        ImportError: If a converter is not installed.
        RuntimeError: If the backend of Keras is not TensorFlow.

    Example:
    >>> model = keras.Sequential([
    ...     keras.Input((96, 96, 3)),
    ...     tf_boxconv.layers.BoxConv2D(8, activation="relu"),
    ... ])
    >>> tf_boxconv.export(model, "model.tflite")
    """
    format = checked_format(path, format)
    if keras.config.backend() != "tensorflow":
        raise RuntimeError(
            "tf_boxconv.export needs Keras's TensorFlow backend. Save the model with "
            'model.save("model.keras"), then load it with keras.models.load_model in a process '
            f"with KERAS_BACKEND=tensorflow. Received: backend={keras.config.backend()!r}"
        )
    require_weights(model, input_shape)
    require_flat_outputs(model)
    _check_quantization(format, quantize, representative_data)
    _check_quantize_only(model, quantize, quantize_only)
    require_modules(FORMATS[format].needs, f'format="{format}"')
    signature = input_signature(model, input_shape)
    module, kind = _module(format), output_kind(format)

    def resolved_destination() -> Path:
        return output.resolved_destination(path, kind, overwrite)

    # Checked again just before replacing, because `path` may have changed during the export.
    with output.atomic(resolved_destination(), check=resolved_destination) as temporary:
        if format == "saved_model":
            module.write_native(model, temporary, signature)
        elif format == "saved_model_portable":
            module.write_portable(model, temporary, signature)
        else:
            options = _quantization_options(model, quantize, representative_data, quantize_only)
            _convert(model, signature, module, temporary, options)


def output_kind(format: str, **names: str) -> output.Kind:
    """Describes the outputs of `export` in a format whose converter is installed.

    Args:
        format: A key of `FORMATS`.
        **names: The attributes `argument` and `overwrite` of `output.Kind`, for other callers.
    """
    chosen = FORMATS[format]
    name = f"{chosen.name} written by tf_boxconv.export"
    return output.Kind(name, _module(format).own_files, chosen.suffix, **names)


def _module(format: str):
    # Imported when needed because it imports TensorFlow or a converter.
    return importlib.import_module(f"tf_boxconv.exporting.{FORMATS[format].module}")


def _convert(model: keras.Model, signature, converter, path: Path, options: dict) -> None:
    """Writes a portable SavedModel beside `path`, from which `converter` writes `path`.

    Float types other than float32 are converted to float32 in between.
    """
    from tf_boxconv.exporting import float32
    from tf_boxconv.exporting.saved_model import write_portable

    saved_model = path.with_name(f"{path.name}.saved_model")
    write_portable(model, saved_model, signature, marked=options.get("quantize_only"))
    try:
        saved_model = float32.convert(saved_model, path.with_name(f"{path.name}.float32"))
        converter.write(saved_model, path, **options)
    except (OSError, ValueError):
        raise
    except Exception as error:  # Converters raise their own classes, with long messages.
        message = textwrap.shorten(str(error), 300, placeholder=" ...")
        raise ValueError(
            f"`model` cannot be converted to {path.suffix or 'this format'}. Received: model "
            f"'{model.name}'. Error of the converter: {message}"
        ) from error


def checked_format(
    path: str | os.PathLike, format: str | None, argument: str = output.Kind.argument
) -> str:
    """Returns `format`, or the format for the suffix of `path`.

    Args:
        path: The file or folder to write.
        format: A key of `FORMATS`, or None.
        argument: The name of `path` in messages.

    Raises:
        TypeError: `path` is not a path.
        ValueError: `format` is unknown, or `path` has the suffix of another kind of file.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"`path` must be a str or an os.PathLike. Received: path={path!r}")
    if format is not None and (not isinstance(format, str) or format not in FORMATS):
        names = ", ".join(f'"{name}"' for name in FORMATS)
        name_here = _OTHER_NAMES.get(format) if isinstance(format, str) else None
        advice = f'; "{format}" is called "{name_here}" here' if name_here else ""
        raise ValueError(f"`format` must be one of {names}{advice}. Received: format={format!r}")
    name = os.fspath(path).rstrip("/").lower()
    by_suffix = {known.suffix: key for key, known in FORMATS.items() if known.suffix is not None}
    inferred = next((key for suffix, key in by_suffix.items() if name.endswith(suffix)), None)
    if inferred is not None and format not in (None, inferred) and not FORMATS[format].suffix:
        raise ValueError(
            f'{argument} ends like a file of format="{inferred}", but format="{format}" writes a '
            f"folder. Received: path='{path}'"
        )
    writes_folder = FORMATS[format or "saved_model"].suffix is None
    if inferred is None and name.endswith(_OTHER_SUFFIXES) and writes_folder:
        raise ValueError(
            f"{argument} ends in the suffix of another kind of file. Choose a folder name without "
            "it, or end in '.onnx' or '.tflite' and use that format. "
            f"Received: path='{path}', format={format!r}"
        )
    return format or inferred or "saved_model"


def _quantization_options(
    model: keras.Model, quantize: str | None, representative_data, quantize_only: str | None
) -> dict:
    if quantize is None:
        return {}
    return {
        "quantize": quantize,
        "representative_data": representative_data,
        # A subclassed model has no `inputs`. Without names, `litert` keeps the order of the
        # signature.
        "input_names": [tensor.name for tensor in getattr(model, "inputs", None) or ()],
        "quantize_only": quantize_only,
    }


def _check_quantization(format: str, quantize: str | None, representative_data) -> None:
    if quantize is not None and quantize not in QUANTIZATIONS:
        names = ", ".join(f'"{name}"' for name in QUANTIZATIONS)
        raise ValueError(f"`quantize` must be one of {names} or None. Received: {quantize=!r}")
    if quantize is not None and format != "litert":
        raise ValueError(
            f'`quantize` is for format="litert" only. Received: quantize={quantize!r}, '
            f"format={format!r}"
        )
    if quantize in INTEGER_QUANTIZATIONS and representative_data is None:
        raise ValueError(
            '`representative_data` must be given with quantize="int8" and "uint8": an iterable of '
            f"typical input arrays. Received: representative_data=None, quantize={quantize!r}"
        )
    if representative_data is not None and not isinstance(representative_data, Iterable):
        raise ValueError(
            "`representative_data` must be an iterable of input arrays"
            + (": call the function that returns it" if callable(representative_data) else "")
            + f". Received: representative_data={representative_data!r}"
        )
    if quantize not in INTEGER_QUANTIZATIONS and representative_data is not None:
        raise ValueError(
            '`representative_data` is for quantize="int8" and "uint8" only. Received: '
            f"representative_data with quantize={quantize!r}"
        )


def _check_quantize_only(model: keras.Model, quantize: str | None, name: str | None) -> None:
    if name is None:
        return
    if quantize != "int8":
        raise ValueError(
            f'`quantize_only` is for quantize="int8" only. Received: quantize_only={name!r}, '
            f"quantize={quantize!r}"
        )
    names = {layer.name for layer in model._flatten_layers(include_self=False)}
    if name not in names:
        raise ValueError(
            "`quantize_only` must be the name of a layer of `model`. Received: "
            f"quantize_only={name!r}, a model with layers {', '.join(sorted(names))}"
        )
