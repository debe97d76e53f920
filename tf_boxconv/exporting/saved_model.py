"""Writes SavedModels with the compiled operators, and portable ones.

All other formats are converted from a portable SavedModel.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf
from google.protobuf.message import DecodeError
from keras.src.export.export_utils import get_input_signature
from tensorflow.core.framework import graph_pb2

from tf_boxconv import description
from tf_boxconv.exporting import portable, saved_model_graph

SIGNATURE = tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY


def write_native(model: keras.Model, folder: Path, signature=None) -> None:
    """Writes `model` with the compiled operators."""
    _write(model, model, folder, signature)
    _write_description(model, folder)


def write_portable(
    model: keras.Model, folder: Path, signature=None, marked: str | None = None
) -> None:
    """Writes `model` with the same signature, using only TensorFlow's own operations.

    Args:
        model: The model.
        folder: The folder to write.
        signature: See `export.input_signature`.
        marked: See `portable.call`.
    """
    _write(model, functools.partial(portable.call, model, marked=marked), folder, signature)
    remaining = saved_model_graph.custom_ops(folder)
    if remaining:
        raise ValueError(
            "`model` calls a concrete function that was traced with the compiled operators and "
            "cannot be traced again: it comes from `get_concrete_function` or from a SavedModel. "
            "Call the tf.function or the layer itself instead. Received: model "
            f"'{model.name}' with ops {', '.join(remaining)}"
        )
    _write_description(model, folder)


def _write(model: keras.Model, call: Callable, folder: Path, signature) -> None:
    """Writes `call` as `model.export` writes `model`."""
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", _retracing(model, call), signature or get_input_signature(model))
    archive.write_out(folder, verbose=False)


def _retracing(model: keras.Model, call: Callable) -> Callable:
    """Returns a function that calls `call` and makes every inner `tf.function` trace again.

    TensorFlow would otherwise reuse graphs from earlier traces, which contain the compiled
    operators. The device scope prevents that: inside a scope with a device function, TensorFlow
    does not reuse graphs that were traced outside of it.
    """
    # As in `predict`. The default of some layers, such as RandomFlip, is training mode.
    inference = {"training": False} if model._call_has_training_arg else {}

    def serve(*args, **kwargs):
        kwargs = {**kwargs, **inference}
        with tf.compat.v1.device(lambda op: op.device):
            return call(*args, **kwargs)

    serve.__signature__ = inspect.signature(model.__call__)
    return serve


def own_files(folder: Path) -> set[str]:
    """See `output.Kind`."""
    name = f"assets.extra/{description.FILE_NAME}"
    try:
        content = json.loads((folder / name).read_bytes())
        marked = isinstance(content, dict) and description.MARK in content
        return {name, *saved_model_graph.files(folder)} if marked else set()
    except (OSError, ValueError, DecodeError):
        return set()


def _write_description(model: keras.Model, folder: Path) -> None:
    # TensorFlow's folder for additional files. Servers ignore files that they do not know there.
    extra = folder / "assets.extra"
    extra.mkdir()
    text = json.dumps(description.describe(model), indent=1)
    (extra / description.FILE_NAME).write_text(text + "\n")


@dataclasses.dataclass(frozen=True)
class FrozenSignature:
    """A signature as a single graph, with weights as constants and functions inlined.

    Attributes:
        graph_def: The graph.
        inputs: The graph's input tensors, by their names in the signature.
        outputs: The graph's output tensors, by their names in the signature.
    """

    graph_def: graph_pb2.GraphDef
    inputs: dict[str, tf.Tensor]
    outputs: dict[str, tf.Tensor]


def frozen_signature(folder: Path, lower_control_flow: bool = True) -> FrozenSignature:
    """Freezes the default signature of a SavedModel.

    Args:
        folder: The SavedModel.
        lower_control_flow: Whether to replace conditions and loops by ops such as Switch and Merge.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    loaded = tf.saved_model.load(
        str(folder)
    )  # A reference, because signatures do not keep variables alive.
    signature = loaded.signatures[SIGNATURE]
    specs = signature_inputs(signature)
    names = sorted(signature.structured_outputs)

    @tf.function(input_signature=specs)
    def serve(*inputs):
        outputs = signature(**{spec.name: x for spec, x in zip(specs, inputs, strict=True)})
        return [outputs[name] for name in names]

    frozen = convert_variables_to_constants_v2(
        serve.get_concrete_function(), lower_control_flow=lower_control_flow
    )
    if len(frozen.inputs) > len(specs):
        raise ValueError(
            "`model` must not need resources other than weights in this format, such as the tables "
            "of StringLookup layers: export the part of the model after these layers. Received: "
            + ", ".join(tensor.name for tensor in frozen.inputs[len(specs) :])
        )
    return FrozenSignature(
        frozen.graph.as_graph_def(),
        dict(zip([spec.name for spec in specs], frozen.inputs, strict=True)),
        dict(zip(names, frozen.outputs, strict=True)),
    )


def signature_inputs(signature) -> list[tf.TensorSpec]:
    """Returns the inputs of a signature, sorted by name."""
    specs = signature.structured_input_signature[1]
    return [tf.TensorSpec(s.shape, s.dtype, name) for name, s in sorted(specs.items())]
