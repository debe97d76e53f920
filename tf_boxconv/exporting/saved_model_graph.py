"""What ops a SavedModel needs, read from the file, without loading it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tensorflow.core.framework import node_def_pb2
from tensorflow.core.protobuf import saved_model_pb2

# The names of this package's ops begin with it.
PREFIX = "BoxConv>"


def nodes(folder: Path) -> Iterator[node_def_pb2.NodeDef]:
    """All nodes of a SavedModel, those of its functions included."""
    saved_model = saved_model_pb2.SavedModel()
    saved_model.ParseFromString((Path(folder) / "saved_model.pb").read_bytes())
    for meta_graph in saved_model.meta_graphs:
        yield from meta_graph.graph_def.node
        for function in meta_graph.graph_def.library.function:
            yield from function.node_def


def op_types(folder: Path) -> set[str]:
    """The types of all ops in a SavedModel."""
    return {node.op for node in nodes(folder)}


def custom_ops(folder: Path) -> list[str]:
    """The types of the ops that need this package's library."""
    return sorted(op for op in op_types(folder) if op.startswith(PREFIX))
