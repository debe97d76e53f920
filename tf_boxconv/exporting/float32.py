"""Converts SavedModels that compute in float16, bfloat16 or float64 to float32.

Most runtimes do not support all of these types. The conversion rewrites the graph and not the Keras
model, so that it works for subclassed models, `Lambda` layers and explicit casts too.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2, graph_pb2, node_def_pb2, types_pb2

from tf_boxconv.exporting import saved_model_graph
from tf_boxconv.exporting.saved_model import SIGNATURE, FrozenSignature, frozen_signature

_OTHER_FLOATS = (types_pb2.DT_HALF, types_pb2.DT_BFLOAT16, types_pb2.DT_DOUBLE)


def convert(saved_model: Path, folder: Path) -> Path:
    """Returns the folder of a SavedModel whose only float type is float32.

    Args:
        saved_model: The folder of a portable SavedModel.
        folder: The folder for the converted SavedModel.

    Returns:
        `saved_model` if it uses float32 only, and otherwise `folder`.
    """
    if not any(_uses_other_floats(node.attr) for node in saved_model_graph.nodes(saved_model)):
        return saved_model
    frozen = frozen_signature(saved_model)
    _convert_graph(frozen.graph_def)
    serve = _serving_function(frozen)
    tf.saved_model.save(tf.Module(), str(folder), signatures={SIGNATURE: serve})
    return folder


def _uses_other_floats(attributes) -> bool:
    return any(
        value.type in _OTHER_FLOATS or any(item in _OTHER_FLOATS for item in value.list.type)
        for value in attributes.values()
    )


def _serving_function(frozen: FrozenSignature):
    """Returns the converted graph as a function with the inputs and outputs of the signature."""
    specs = [
        tf.TensorSpec(tensor.shape, _converted_type(tensor.dtype.as_datatype_enum), name)
        for name, tensor in frozen.inputs.items()
    ]

    @tf.function(input_signature=specs)
    def serve(*inputs):
        outputs = tf.graph_util.import_graph_def(
            frozen.graph_def,
            input_map=dict(zip((t.name for t in frozen.inputs.values()), inputs, strict=True)),
            return_elements=[tensor.name for tensor in frozen.outputs.values()],
            name="",
        )
        return dict(zip(frozen.outputs, outputs, strict=True))

    return serve


def _convert_graph(graph: graph_pb2.GraphDef) -> None:
    _convert_nodes(graph.node)
    for function in graph.library.function:
        for argument in (*function.signature.input_arg, *function.signature.output_arg):
            argument.type = _converted_type(argument.type)
        _convert_nodes(function.node_def)


def _convert_nodes(nodes: Iterable[node_def_pb2.NodeDef]) -> None:
    for node in nodes:
        for value in node.attr.values():
            _convert_attribute(value)
        if node.op == "Cast" and node.attr["SrcT"].type == node.attr["DstT"].type:
            # The cast changes nothing now, but some runtimes would execute it.
            node.op = "Identity"
            node.attr["T"].type = node.attr["DstT"].type
            for name in ("SrcT", "DstT", "Truncate"):
                node.attr.pop(name, None)


def _convert_attribute(value: attr_value_pb2.AttrValue) -> None:
    kind = value.WhichOneof("value")
    if kind == "type":
        value.type = _converted_type(value.type)
    elif kind == "list":
        value.list.type[:] = [_converted_type(item) for item in value.list.type]
    elif kind == "func":
        for inner in value.func.attr.values():
            _convert_attribute(inner)
    elif kind == "tensor" and value.tensor.dtype in _OTHER_FLOATS:
        value.tensor.CopyFrom(tf.make_tensor_proto(_to_float32(tf.make_ndarray(value.tensor))))


def _converted_type(enum: int) -> int:
    return types_pb2.DT_FLOAT if enum in _OTHER_FLOATS else enum


def _to_float32(value: np.ndarray) -> np.ndarray:
    """Converts `value` to float32, clipping finite numbers to the range of float32."""
    wide = value.astype(np.float64)
    largest = np.finfo(np.float32).max
    return np.where(np.isfinite(wide), np.clip(wide, -largest, largest), wide).astype(np.float32)
