"""`tf_boxconv.export`: one call for all formats."""

from __future__ import annotations

import dataclasses
import importlib
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import keras

from tf_boxconv.exporting import output
from tf_boxconv.exporting.errors import require_modules

QUANTIZATIONS = ("int8", "uint8", None)


@dataclasses.dataclass(frozen=True)
class Format:
    """What `export` has to know of a format before it starts.

    Attributes:
        converter: The module of `tf_boxconv.exporting` that converts a portable SavedModel to it;
            `None` for SavedModels themselves.
        suffix: What the name of the written file ends in; `None` for a folder.
        needs: Python modules that only this format needs; the extra `export` installs them.
    """

    converter: str | None = None
    suffix: str | None = None
    needs: tuple[str, ...] = ()


FORMATS = {
    "saved_model": Format(),
    "saved_model_portable": Format(),
    "litert": Format("litert", ".tflite"),
    "onnx": Format("onnx", ".onnx", ("onnx", "tf2onnx")),
    "openvino": Format("openvino", None, ("openvino",)),
    "tfjs": Format("tfjs"),
}


def export(
    model: keras.Model,
    path: str | os.PathLike,
    format: str = "saved_model",
    *,
    input_shape: Sequence[int | None] | None = None,
    quantize: str | None = None,
    representative_data: Iterable[Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Writes `model`, for inference, in the format of another runtime.

    All formats but `"saved_model"` hold stock operations only and run where this package has never
    been heard of. Where the size of the input is known, they hold what the boxes become for that
    size, two matrices a box, as constants: `4 * (height * height + width * width)` bytes a box
    without strides. Where it is not, these are computed for each input.

    | format | written | runs in |
    | --- | --- | --- |
    | `"saved_model"` | a folder | TensorFlow with the op library loaded: the compiled, fast op |
    | `"saved_model_portable"` | a folder | any TensorFlow, TF Serving, Triton |
    | `"litert"` | a `.tflite` file | LiteRT (TensorFlow Lite) |
    | `"onnx"` | an `.onnx` file | ONNX Runtime and others |
    | `"openvino"` | a folder, `model.xml` and `model.bin` | OpenVINO |
    | `"tfjs"` | a folder, `model.json` and weights | TensorFlow.js |

    Args:
        model: A built Keras model. One that is neither functional nor sequential must have been
            called once.
        path: What to write. It appears when it is complete, or not at all.
        format: One of the above.
        input_shape: The input's shape with the batch, like `(None, 256, 256, 3)`: fixes what the
            model leaves open. For models with one input.
        quantize: For `"litert"`: `"int8"` or `"uint8"` makes all arithmetic that of 8 bit integers,
            and inputs and outputs of that type. `None` keeps float32.
        representative_data: For `quantize`: some inputs as the model will meet them, an iterable of
            arrays with a batch axis. For several inputs a list of arrays, in the order of
            `model.inputs`, or a dict of them by name. A hundred images do.
        overwrite: Replaces what is there under `path`.

    Raises:
        ValueError: for an argument out of its range, or a model that the format cannot hold.
        FileExistsError: `path` is taken, and `overwrite` is not set.
        ImportError: a converter is not installed; the message says how to get it.
    """
    if format not in FORMATS:
        known = ", ".join(f'"{name}"' for name in FORMATS)
        raise ValueError(f"`format` must be one of {known}. Received: format={format!r}")
    if keras.config.backend() != "tensorflow":
        raise RuntimeError(
            "tf_boxconv.export needs Keras's TensorFlow backend, on which the model may be loaded: "
            'model.save("model.keras"), then keras.models.load_model with '
            f"KERAS_BACKEND=tensorflow. Received: backend={keras.config.backend()!r}"
        )
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a keras.Model. Received: model={model!r}")
    if not model.built:
        raise ValueError(
            f"`model` must be built before it is exported: call it once, or give it a keras.Input. "
            f"Received: model '{model.name}', not built"
        )
    _check_quantization(format, quantize, representative_data)
    chosen = FORMATS[format]
    destination = output.checked(path, chosen.suffix, overwrite)
    require_modules(chosen.needs, f'format="{format}"')
    signature = _input_signature(model, input_shape)
    options = {}
    if quantize is not None:
        options = {
            "quantize": quantize,
            "representative_data": representative_data,
            # A subclassed model has no `inputs`, and one input.
            "input_names": [each.name for each in getattr(model, "inputs", None) or ()],
        }
    # Only here: TensorFlow is needed by no one else.
    from tf_boxconv.exporting import saved_model as saved_models

    with output.whole(destination, overwrite) as temporary:
        if format == "saved_model":
            saved_models.write_native(model, temporary, signature)
        elif format == "saved_model_portable":
            saved_models.write_portable(model, temporary, signature)
        else:
            _convert(model, signature, chosen, temporary, options)


def _convert(model: keras.Model, signature, format: Format, path: Path, options: dict) -> None:
    """Writes a portable SavedModel and converts it; converters are imported when they are used."""
    from tf_boxconv.exporting import saved_model as saved_models

    converter = importlib.import_module(f"tf_boxconv.exporting.{format.converter}")
    with tempfile.TemporaryDirectory(prefix="tf_boxconv-export-") as scratch:
        saved_model = Path(scratch) / "saved_model"
        saved_models.write_portable(model, saved_model, signature)
        converter.write(saved_model, path, **options)


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
    if quantize is None and representative_data is not None:
        raise ValueError(
            "`representative_data` is for `quantize` only. Received: representative_data with "
            "quantize=None"
        )


def _input_signature(model: keras.Model, input_shape: Sequence[int | None] | None):
    """The input signature for Keras's export; `None` leaves it to the model."""
    if input_shape is None:
        return None
    inputs = getattr(model, "inputs", None) or []
    own = tuple(inputs[0].shape) if len(inputs) == 1 else None
    shape = tuple(input_shape)
    fits = own is None or (
        len(own) == len(shape)
        and all(a is None or a == b for a, b in zip(own[1:], shape[1:], strict=True))
    )
    if len(inputs) > 1 or not fits:
        raise ValueError(
            "`input_shape` must fill in what the model's one input leaves open. Received: "
            f"input_shape={shape}, a model with inputs of shapes {[tuple(i.shape) for i in inputs]}"
        )
    if own is None:
        return [keras.InputSpec(shape=shape, dtype=model.input_dtype)]
    return [keras.InputSpec(shape=shape, dtype=inputs[0].dtype, name=inputs[0].name)]
