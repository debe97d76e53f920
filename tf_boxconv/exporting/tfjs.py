"""Writes TensorFlow.js graph models: `model.json` and binary files with the weights.

The format is a GraphDef in JSON whose constants are in separate files. The converter of the package
`tensorflowjs` is not used because its pinned dependencies conflict with those of TensorFlow 2.21.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.framework import graph_pb2

from tf_boxconv import description
from tf_boxconv.exporting.saved_model import FrozenSignature, frozen_signature
from tf_boxconv.version import __version__

SHARD_BYTES = 4 << 20
# TensorFlow.js has the numeric types float32 and int32. Other types are converted to these.
_CONVERTED_TYPES = {
    **dict.fromkeys(("float64", "float16", "bfloat16"), "float32"),
    **dict.fromkeys(("int64", "int8", "uint8"), "int32"),
}
# The fields of a TensorProto that contain values.
_VALUE_FIELDS = ("tensor_content", "half_val", "float_val", "double_val", "int_val", "int64_val")
_VALUE_FIELDS += ("bool_val",)
_SUPPORTED_TYPES = ("float32", "int32", "bool")


def write(saved_model: Path, folder: Path) -> None:
    """Converts a portable SavedModel."""
    frozen = frozen_signature(saved_model)
    graph = _inference_graph(frozen)
    weights = _move_constants(graph)
    content = {
        "format": "graph-model",
        "generatedBy": f"TensorFlow {tf.__version__}",
        "convertedBy": f"{description.MARK} {__version__}",
        "signature": {
            "inputs": _signature_entries(frozen.inputs),
            "outputs": _signature_entries(frozen.outputs),
        },
        "modelTopology": json_format.MessageToDict(graph),
        "weightsManifest": [
            {"paths": [], "weights": [_weight_entry(*item) for item in weights.items()]}
        ],
    }
    folder.mkdir()
    content["weightsManifest"][0]["paths"] = _write_shards(folder, weights)
    (folder / "model.json").write_text(json.dumps(content))


def own_files(folder: Path) -> set[str]:
    """See `output.Kind`."""
    try:
        content = json.loads((folder / "model.json").read_bytes())
        if not content["convertedBy"].startswith(f"{description.MARK} "):
            return set()
        shards = [name for group in content["weightsManifest"] for name in group["paths"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()
    return {"model.json", *shards}


def _inference_graph(frozen: FrozenSignature) -> graph_pb2.GraphDef:
    """Returns the nodes that the outputs depend on, without control edges and assertions."""
    nodes = {node.name: node for node in frozen.graph_def.node}
    tensors = [*frozen.inputs.values(), *frozen.outputs.values()]
    needed, pending = set(), [tensor.op.name for tensor in tensors]
    while pending:
        name = pending.pop()
        if name not in needed:
            needed.add(name)
            node = nodes[name]
            node.input[:] = [source for source in node.input if not source.startswith("^")]
            pending += [source.split(":")[0] for source in node.input]
    kept = [node for node in nodes.values() if node.name in needed]
    graph = graph_pb2.GraphDef(node=kept, versions=frozen.graph_def.versions)
    for node in graph.node:
        for name in [name for name in node.attr if name.startswith("_")]:
            del node.attr[name]
    return graph


def _move_constants(graph: graph_pb2.GraphDef) -> dict[str, np.ndarray]:
    """Removes the values of constants from the graph. Returns them by the name of the node."""
    weights = {}
    for node in graph.node:
        if node.op == "Const":
            tensor = node.attr["value"].tensor
            weights[node.name] = _supported(node.name, tf.make_ndarray(tensor))
            for field in _VALUE_FIELDS:
                tensor.ClearField(field)
    return weights


def _supported(name: str, value: np.ndarray) -> np.ndarray:
    """Converts a constant to a type that TensorFlow.js supports."""
    dtype = _CONVERTED_TYPES.get(value.dtype.name, value.dtype.name)
    if dtype not in _SUPPORTED_TYPES:
        raise ValueError(
            f'format="tfjs" supports constants of numbers and booleans only. Received: constant '
            f"{name!r} of type {value.dtype.name}"
        )
    if value.dtype == np.int64:
        # Integers beyond int32 are ends of slices that mean "to the end": any large number will do.
        limits = np.iinfo(np.int32)
        value = np.clip(value, limits.min, limits.max)
    return value.astype(dtype)


def _weight_entry(name: str, value: np.ndarray) -> dict[str, Any]:
    return {"name": name, "shape": list(value.shape), "dtype": value.dtype.name}


def _signature_entries(tensors: dict[str, tf.Tensor]) -> dict[str, Any]:
    return {name: _signature_entry(tensor) for name, tensor in tensors.items()}


def _signature_entry(tensor: tf.Tensor) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "dtype": f"DT_{tensor.dtype.name.upper()}".replace("FLOAT32", "FLOAT"),
        "tensorShape": json_format.MessageToDict(tensor.shape.as_proto()),
    }


def _write_shards(folder: Path, weights: dict[str, np.ndarray]) -> list[str]:
    """Concatenates all values and writes them in files of `SHARD_BYTES`. Returns their names."""
    data = b"".join(np.ascontiguousarray(value).tobytes() for value in weights.values())
    count = max(1, -(-len(data) // SHARD_BYTES))
    names = [f"group1-shard{i + 1}of{count}.bin" for i in range(count)]
    for i, name in enumerate(names):
        (folder / name).write_bytes(data[i * SHARD_BYTES : (i + 1) * SHARD_BYTES])
    return names
