"""`tf_boxconv.export`: one call for all formats."""

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

QUANTIZATIONS = ("int8", "uint8", None)


@dataclasses.dataclass(frozen=True)
class Format:
    """What `export` has to know of a format before it starts.

    Attributes:
        module: The module of `tf_boxconv.exporting` that writes it and recognises it.
        name: What an export in this format is called in messages.
        suffix: Suffix of the written file; `None` for a folder.
        needs: Python modules that only this format needs.
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
# Suffixes of model files. No folder is written under such a name, which would mislead.
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
    overwrite: bool = False,
) -> None:
    """Writes `model`, for inference, in the format of another runtime.

    All formats but `"saved_model"` are portable: they run without this package. They compute a box
    as two matrices. If the size of the input is known, the file holds these matrices, which take
    `4 * (height**2 + width**2)` bytes per box without strides. If it is unknown, they are computed
    for each input.

    | format | written | runs in |
    | --- | --- | --- |
    | `"saved_model"` | a folder | TensorFlow with the op library loaded: the compiled, fast op |
    | `"saved_model_portable"` | a folder | any TensorFlow, TF Serving, Triton |
    | `"litert"` | a `.tflite` file | LiteRT (TensorFlow Lite) |
    | `"onnx"` | an `.onnx` file | ONNX Runtime and others |
    | `"openvino"` | a folder, `model.xml` and `model.bin` | OpenVINO |
    | `"tfjs"` | a folder, `model.json` and weights | TensorFlow.js |

    Models under a float16, bfloat16 or float64 dtype policy compute in float32 in the last four
    formats, inputs and outputs included. SavedModels keep the types of the model.

    Args:
        model: A built Keras model. One that is neither functional nor sequential must have been
            called once.
        path: What to write, on this machine; `~` is the home folder. It appears when it is
            complete, or not at all.
        format: One of the above. `None` takes it from the suffix of `path`: `.onnx` or `.tflite`;
            without a suffix `"saved_model"`.
        input_shape: The input's shape with the batch, like `(None, 256, 256, 3)`: fixes what the
            model leaves open. For models with one input.
        quantize: For `"litert"`: `"int8"` or `"uint8"` makes all arithmetic that of 8 bit integers,
            and inputs and outputs of that type. `None` keeps float32.
        representative_data: For `quantize`: some inputs as the model will meet them, an iterable of
            arrays with a batch axis. For several inputs a list of arrays, in the order of
            `model.inputs`, or a dict of them by name. A hundred images do.
        overwrite: Replaces an earlier export in the same format. Nothing else is ever replaced: no
            other file, and no folder that holds anything beside an export.

    Raises:
        ValueError: for an argument out of its range, or a model that the format cannot hold.
        FileExistsError: `path` is taken by something that will not be replaced.
        OSError: `path` cannot be written. What was there before is still there.
        ImportError: a converter is not installed; the message says how to get it.
    """
    format = _checked_format(path, format)
    if keras.config.backend() != "tensorflow":
        raise RuntimeError(
            "tf_boxconv.export needs Keras's TensorFlow backend, on which the model may be loaded: "
            'model.save("model.keras"), then keras.models.load_model with '
            f"KERAS_BACKEND=tensorflow. Received: backend={keras.config.backend()!r}"
        )
    require_weights(model, input_shape)
    require_flat_outputs(model)
    _check_quantization(format, quantize, representative_data)
    chosen = FORMATS[format]
    require_modules(chosen.needs, f'format="{format}"')
    signature = input_signature(model, input_shape)
    # Imported here, as each needs TensorFlow or a converter.
    module = importlib.import_module(f"tf_boxconv.exporting.{chosen.module}")
    kind = output.Kind(
        f"{chosen.name} written by tf_boxconv.export", module.own_files, chosen.suffix
    )
    destination = output.checked(path, kind, overwrite)
    with output.whole(destination, lambda: output.checked(path, kind, overwrite)) as temporary:
        if format == "saved_model":
            module.write_native(model, temporary, signature)
        elif format == "saved_model_portable":
            module.write_portable(model, temporary, signature)
        else:
            options = _quantization_options(model, quantize, representative_data)
            _convert(model, signature, module, temporary, options)


def _convert(model: keras.Model, signature, converter, path: Path, options: dict) -> None:
    """Writes a portable SavedModel beside `path`, in float32, and converts it."""
    from tf_boxconv.exporting import float32
    from tf_boxconv.exporting.saved_model import write_portable

    saved_model = path.with_name(f"{path.name}.saved_model")
    write_portable(model, saved_model, signature)
    try:
        saved_model = float32.converted(saved_model, path.with_name(f"{path.name}.float32"))
        converter.write(saved_model, path, **options)
    except (OSError, ValueError):
        raise
    except Exception as error:  # Converters raise classes of their own, with long reports.
        report = textwrap.shorten(str(error), 300, placeholder=" ...")
        raise ValueError(
            f"`model` cannot be converted to {path.suffix or 'this format'}. Received: model "
            f"'{model.name}'. The converter says: {report}"
        ) from error


def _checked_format(path: str | os.PathLike, format: str | None) -> str:
    """The format that `path` and `format` ask for."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"`path` must be a str or an os.PathLike. Received: path={path!r}")
    if format is not None and (not isinstance(format, str) or format not in FORMATS):
        known = ", ".join(f'"{name}"' for name in FORMATS)
        raise ValueError(f"`format` must be one of {known}. Received: format={format!r}")
    name = os.fspath(path).rstrip("/").lower()
    by_suffix = {each.suffix: key for key, each in FORMATS.items() if each.suffix is not None}
    inferred = next((key for suffix, key in by_suffix.items() if name.endswith(suffix)), None)
    if inferred is not None and format not in (None, inferred) and not FORMATS[format].suffix:
        raise ValueError(
            f'`path` ends like a file of format="{inferred}", and format="{format}" writes a '
            f"folder. Received: path='{path}'"
        )
    if inferred is None and name.endswith(_OTHER_SUFFIXES) and not FORMATS[format or "tfjs"].suffix:
        raise ValueError(
            "`path` must end in '.onnx' or '.tflite', or name a folder, which no format writes "
            f"under such a suffix. Received: path='{path}', format={format!r}"
        )
    return format or inferred or "saved_model"


def _quantization_options(model: keras.Model, quantize: str | None, representative_data) -> dict:
    if quantize is None:
        return {}
    return {
        "quantize": quantize,
        "representative_data": representative_data,
        # A subclassed model has no `inputs`, and one input.
        "input_names": [each.name for each in getattr(model, "inputs", None) or ()],
    }


def _check_quantization(format: str, quantize: str | None, representative_data) -> None:
    if quantize not in QUANTIZATIONS:
        raise ValueError(
            f'`quantize` must be "int8", "uint8" or None. Received: quantize={quantize!r}'
        )
    if quantize is not None and format != "litert":
        raise ValueError(
            f'`quantize` is for format="litert" only. Received: quantize={quantize!r}, '
            f"format={format!r}"
        )
    if quantize is not None and representative_data is None:
        raise ValueError(
            "`representative_data` must be given with `quantize`: an iterable of input arrays, as "
            f"the model will meet them. Received: representative_data=None, quantize={quantize!r}"
        )
    if representative_data is not None and not isinstance(representative_data, Iterable):
        raise ValueError(
            "`representative_data` must be an iterable of input arrays"
            + (": call the function that makes it" if callable(representative_data) else "")
            + f". Received: representative_data={representative_data!r}"
        )
    if quantize is None and representative_data is not None:
        raise ValueError(
            "`representative_data` is for `quantize` only. Received: representative_data with "
            "quantize=None"
        )
