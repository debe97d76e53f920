"""Reads the ops and files of a SavedModel from its protocol buffer, without loading the model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tensorflow.core.framework import node_def_pb2
from tensorflow.core.protobuf import saved_model_pb2

# The prefix of this package's custom ops.
PREFIX = "BoxConv>"


def _meta_graphs(folder: Path):
    saved_model = saved_model_pb2.SavedModel()
    saved_model.ParseFromString((Path(folder) / "saved_model.pb").read_bytes())
    return saved_model.meta_graphs


def files(folder: Path) -> set[str]:
    """Returns the names of the files and empty folders that TensorFlow wrote for a SavedModel."""
    folder = Path(folder)
    found = {"saved_model.pb", "fingerprint.pb", "variables", "variables/variables.index", "assets"}
    found.update(
        f"variables/{data.name}" for data in folder.glob("variables/variables.data-*-of-*")
    )
    for meta_graph in _meta_graphs(folder):
        found.update(f"assets/{asset.filename}" for asset in meta_graph.asset_file_def)
    return found


def nodes(folder: Path) -> Iterator[node_def_pb2.NodeDef]:
    """Yields all nodes of a SavedModel, including those of its functions."""
    for meta_graph in _meta_graphs(folder):
        yield from meta_graph.graph_def.node
        for function in meta_graph.graph_def.library.function:
            yield from function.node_def


def op_types(folder: Path) -> set[str]:
    """Returns the types of all ops in a SavedModel."""
    return {node.op for node in nodes(folder)}


def custom_ops(folder: Path) -> list[str]:
    """Returns the types of this package's custom ops in a SavedModel, sorted."""
    return sorted(op for op in op_types(folder) if op.startswith(PREFIX))
