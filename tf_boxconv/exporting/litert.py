"""Writes `.tflite` files for LiteRT (formerly TensorFlow Lite), in float32 or quantized."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.lite.python import convert, schema_py_generated
from tensorflow.lite.tools import flatbuffer_utils

from tf_boxconv import description
from tf_boxconv.exporting import portable
from tf_boxconv.exporting.saved_model import SIGNATURE, signature_inputs
from tf_boxconv.version import __version__


def write(
    saved_model: Path,
    path: Path,
    quantize: str | None = None,
    representative_data: Iterable[Any] | None = None,
    input_names: Sequence[str] = (),
    quantize_only: str | None = None,
) -> None:
    """Converts a portable SavedModel.

    Args:
        saved_model: The folder of the SavedModel.
        path: The file to write.
        quantize: See `tf_boxconv.export`.
        representative_data: Typical inputs for `quantize`; see `tf_boxconv.export`.
        input_names: The names of the inputs in the order of `representative_data`. Other names than
            those of the signature are ignored; the order is then that of the signature, sorted by
            name.
        quantize_only: See `tf_boxconv.export`.
    """
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(saved_model), signature_keys=[SIGNATURE]
    )
    if quantize is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if representative_data is not None:
        specs = signature_inputs(tf.saved_model.load(str(saved_model)).signatures[SIGNATURE])
        if {spec.name for spec in specs} == set(input_names):
            specs.sort(key=lambda spec: input_names.index(spec.name))
        converter.representative_dataset = lambda: _samples(representative_data, specs)
        if quantize_only is None:
            _require_fixed_sizes(specs)
            integer = tf.as_dtype(quantize)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = integer
    content = converter.convert() if quantize_only is None else _quantized(converter, quantize_only)
    path.write_bytes(_marked(content))


def _quantized(converter: tf.lite.TFLiteConverter, layer: str) -> bytes:
    """Converts a model with one layer in integers, and all other operations in float32.

    The names of the operations of this layer contain `portable.MARK`.
    """
    converter._experimental_calibrate_only = True
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(converter.convert()))
    graph = model.subgraphs[0]
    # In the second call of the layer, a number is appended to the mark.
    scope = re.compile(f"(^|/){portable.MARK}(_[0-9]+)?/")
    others, ranges = [], set()
    for operator in graph.operators:
        name = graph.tensors[operator.outputs[0]].name.decode()
        if scope.search(name):
            ranges.update([*operator.inputs, *operator.outputs])
        else:
            others.append(name)
    if not ranges:
        raise ValueError(
            "`quantize_only` must be the name of a layer that computes something. Received: "
            f"quantize_only={layer!r}"
        )
    # The list of names does not stop operations with several outputs. Without a range they stay
    # in float32 too.
    for index, tensor in enumerate(graph.tensors):
        if index not in ranges:
            tensor.quantization = None
    measured = bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    return convert.mlir_quantize(measured, denylisted_nodes=others)


def own_files(path: Path) -> set[str]:
    """See `output.Kind`."""
    content = path.read_bytes()
    if content[4:8] != b"TFL3":
        return set()
    try:
        model = schema_py_generated.Model.GetRootAs(content)
        names = [model.Metadata(i).Name() for i in range(model.MetadataLength())]
    except Exception:  # The parser raises different classes for damaged files.
        return set()
    return {"."} if description.MARK.encode() in names else set()


def _array(values: Any, spec: tf.TensorSpec) -> np.ndarray:
    """Converts a batch for one input to an array, and checks its shape and values."""
    try:
        array = np.asarray(values, spec.dtype.as_numpy_dtype)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`representative_data` must hold arrays for input '{spec.name}'. Received: an element "
            f"of type {type(values).__name__} ({error})"
        ) from error
    if not array.ndim or not spec.shape.is_compatible_with((None, *array.shape[1:])):
        raise ValueError(
            f"`representative_data` must hold arrays of shape {spec.shape} for input "
            f"'{spec.name}'. Received: an array of shape {array.shape}"
        )
    if not np.isfinite(array).all():
        raise ValueError(
            f"`representative_data` must be finite. Received: NaN or infinity for '{spec.name}'"
        )
    return array


def _marked(content: bytes) -> bytes:
    """Returns the content of a model file with `description.MARK` in its metadata."""
    model = flatbuffer_utils.convert_bytearray_to_object(content)
    buffer = schema_py_generated.BufferT()
    buffer.data = __version__.encode()
    model.buffers.append(buffer)
    entry = schema_py_generated.MetadataT()
    entry.name = description.MARK
    entry.buffer = len(model.buffers) - 1
    model.metadata = [*(model.metadata or ()), entry]
    return flatbuffer_utils.convert_object_to_bytearray(model)


def _require_fixed_sizes(specs: list[tf.TensorSpec]) -> None:
    for spec in specs:
        if spec.shape.rank is None or None in spec.shape[1:]:
            raise ValueError(
                "`quantize` needs an input of fixed size: pass `input_shape`, like "
                f"(None, 256, 256, 3). Received: input '{spec.name}' of shape {spec.shape}"
            )


def _samples(representative_data: Iterable[Any], specs: list[tf.TensorSpec]):
    """Yields single examples for the converter: dicts of arrays by input name."""
    count = 0
    for batch in representative_data:
        if isinstance(batch, Mapping) and batch.keys() == {spec.name for spec in specs}:
            batch = [batch[spec.name] for spec in specs]
        arrays = batch if isinstance(batch, (list, tuple)) else [batch]
        if len(arrays) != len(specs):
            raise ValueError(
                f"Each element of `representative_data` must hold {len(specs)} array(s), one for "
                f"each input ({', '.join(spec.name for spec in specs)}). Received: {len(arrays)}"
            )
        arrays = [_array(a, spec) for a, spec in zip(arrays, specs, strict=True)]
        lengths = {len(array) for array in arrays}
        if len(lengths) > 1:
            raise ValueError(
                "`representative_data` must hold the same number of examples for each input. "
                "Received: "
                f"{[array.shape for array in arrays]}"
            )
        for i in range(len(arrays[0])):
            count += 1
            yield {s.name: a[i : i + 1] for a, s in zip(arrays, specs, strict=True)}
    if not count:
        raise ValueError("`representative_data` must hold at least one example. Received: none")
