"""LiteRT, formerly TensorFlow Lite: a `.tflite` file, in float32 or 8 bit integers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tf_boxconv.exporting.saved_model import SIGNATURE, signature_inputs


def write(
    saved_model: Path,
    path: Path,
    quantize: str | None = None,
    representative_data: Iterable[Any] | None = None,
    input_names: Sequence[str] = (),
) -> None:
    """Converts a portable SavedModel; `input_names` is the order of the inputs in the data."""
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(saved_model), signature_keys=[SIGNATURE]
    )
    if quantize is not None:
        specs = signature_inputs(tf.saved_model.load(str(saved_model)).signatures[SIGNATURE])
        if {spec.name for spec in specs} == set(input_names):
            specs.sort(key=lambda spec: input_names.index(spec.name))
        _require_fixed_sizes(specs)
        integer = tf.as_dtype(quantize)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = integer
        converter.representative_dataset = lambda: _samples(representative_data, specs)
    path.write_bytes(converter.convert())


def _require_fixed_sizes(specs: list[tf.TensorSpec]) -> None:
    for spec in specs:
        if spec.shape.rank is None or None in spec.shape[1:]:
            raise ValueError(
                "`quantize` needs an input of fixed size: pass `input_shape`, like "
                f"(None, 256, 256, 3). Received: input '{spec.name}' of shape {spec.shape}"
            )


def _samples(representative_data: Iterable[Any], specs: list[tf.TensorSpec]):
    """What the converter's calibration wants: one example at a time, inputs by name."""
    count = 0
    for batch in representative_data:
        if isinstance(batch, Mapping) and batch.keys() == {spec.name for spec in specs}:
            batch = [batch[spec.name] for spec in specs]
        arrays = batch if isinstance(batch, (list, tuple)) else [batch]
        if len(arrays) != len(specs):
            raise ValueError(
                f"`representative_data` must hold {len(specs)} array(s) an element, one for each "
                f"input ({', '.join(spec.name for spec in specs)}). Received: {len(arrays)}"
            )
        arrays = [np.asarray(a, s.dtype.as_numpy_dtype) for a, s in zip(arrays, specs, strict=True)]
        for array, spec in zip(arrays, specs, strict=True):
            if not spec.shape.is_compatible_with((None, *array.shape[1:])) or not array.ndim:
                raise ValueError(
                    f"`representative_data` must hold arrays of shape {spec.shape} for input "
                    f"'{spec.name}'. Received: an array of shape {array.shape}"
                )
        for i in range(len(arrays[0])):
            count += 1
            yield {s.name: a[i : i + 1] for a, s in zip(arrays, specs, strict=True)}
    if not count:
        raise ValueError("`representative_data` must hold at least one input. Received: none")
