"""ONNX, by tf2onnx."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from tf_boxconv.exporting.saved_model import frozen_signature

# The newest that tf2onnx 1.16 and 1.17 write.
OPSET = 18


def write(saved_model: Path, path: Path) -> None:
    """Converts a portable SavedModel; inputs and outputs keep the names of its signature."""
    import onnx
    import tf2onnx

    function = frozen_signature(saved_model)
    inputs = [tensor.name for tensor in function.inputs]
    outputs = [tensor.name for tensor in function.outputs]
    graph_def = function.graph.as_graph_def()
    with tf.Graph().as_default():
        proto, _ = tf2onnx.convert.from_graph_def(
            graph_def, input_names=inputs, output_names=outputs, opset=OPSET
        )
    _rename(proto.graph, {name: name.split(":")[0] for name in inputs + outputs})
    onnx.checker.check_model(proto)
    onnx.save(proto, str(path))


def _rename(graph, names: dict[str, str]) -> None:
    """Drops TensorFlow's `:0` from the names that clients see."""
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in [*graph.input, *graph.output]:
        value.name = names.get(value.name, value.name)
