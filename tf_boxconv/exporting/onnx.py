"""Writes ONNX files with tf2onnx."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from tf_boxconv import description
from tf_boxconv.exporting.saved_model import frozen_signature
from tf_boxconv.version import __version__

# The newest opset that tf2onnx 1.17 supports.
OPSET = 18


def write(saved_model: Path, path: Path) -> None:
    """Converts a portable SavedModel. Inputs and outputs get their names in its signature."""
    import onnx
    import tf2onnx

    frozen = frozen_signature(saved_model)
    names = {tensor.name: name for name, tensor in {**frozen.inputs, **frozen.outputs}.items()}
    with tf.Graph().as_default():
        proto, _ = tf2onnx.convert.from_graph_def(
            frozen.graph_def,
            input_names=[tensor.name for tensor in frozen.inputs.values()],
            output_names=[tensor.name for tensor in frozen.outputs.values()],
            opset=OPSET,
        )
    _rename(proto.graph, names)
    onnx.helper.set_model_props(proto, {description.MARK: __version__})
    onnx.checker.check_model(proto)
    onnx.save(proto, str(path))


def own_files(path: Path) -> set[str]:
    """See `output.Kind`."""
    import onnx

    try:
        proto = onnx.load(str(path), load_external_data=False)
    except Exception:  # Parsers of protocol buffers raise different classes.
        return set()
    return {"."} if any(entry.key == description.MARK for entry in proto.metadata_props) else set()


def _rename(graph, names: dict[str, str]) -> None:
    """Renames tensors in the graph, its inputs and its outputs."""
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in [*graph.input, *graph.output]:
        value.name = names.get(value.name, value.name)
