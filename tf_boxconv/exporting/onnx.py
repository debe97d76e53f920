"""Writes ONNX files with tf2onnx."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_boxconv import description
from tf_boxconv.exporting.saved_model import frozen_signature
from tf_boxconv.version import __version__

# The newest opset that tf2onnx 1.17 supports.
OPSET = 18
# Ops that tf2onnx 1.17 lacks. The activations "gelu" and "celu" of Keras use them.
MISSING_OPS = ("Erfc", "Expm1")


def write(saved_model: Path, path: Path) -> None:
    """Converts a portable SavedModel. Inputs and outputs get their names in its signature."""
    import onnx
    import tf2onnx

    # tf2onnx converts conditions and loops that are not lowered to Switch and Merge.
    frozen = frozen_signature(saved_model, lower_control_flow=False)
    shared = sorted(frozen.inputs.keys() & frozen.outputs.keys())
    if shared:
        raise ValueError(
            "Inputs and outputs of an ONNX file must have different names. Received: a model with "
            f"an input and an output called {', '.join(shared)}"
        )
    names = {tensor.name: name for name, tensor in {**frozen.inputs, **frozen.outputs}.items()}
    with tf.Graph().as_default():
        proto, _ = tf2onnx.convert.from_graph_def(
            frozen.graph_def,
            input_names=[tensor.name for tensor in frozen.inputs.values()],
            output_names=[tensor.name for tensor in frozen.outputs.values()],
            opset=OPSET,
            custom_op_handlers=dict.fromkeys(MISSING_OPS, (_convert_missing_op, [])),
        )
    _rename(proto.graph, names)
    _name_open_sizes(proto.graph)
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


def _convert_missing_op(context, node, name, args):
    """Converts `Erfc` to `1 - Erf` and `Expm1` to `Exp - 1`."""
    (x,), (output,), is_erfc = node.input, node.output, node.type == "Erfc"
    types = {"dtypes": [context.get_dtype(x)], "shapes": [context.get_shape(x)]}
    context.remove_node(name)
    value = context.make_node("Erf" if is_erfc else "Exp", [x], **types).output[0]
    one = context.make_const(f"{name}/one", np.ones((), np.float32)).output[0]
    operands = [one, value] if is_erfc else [value, one]
    context.make_node("Sub", operands, name=name, outputs=[output], **types)


def _name_open_sizes(graph) -> None:
    """Names the batch axis of the inputs, and removes names like `unk__130` from other axes."""
    for value in [*graph.input, *graph.output]:
        for dim in value.type.tensor_type.shape.dim:
            if dim.HasField("dim_param"):
                dim.ClearField("dim_param")
    for value in graph.input:
        dims = value.type.tensor_type.shape.dim
        if dims and not dims[0].HasField("dim_value"):
            dims[0].dim_param = "batch"


def _rename(graph, names: dict[str, str]) -> None:
    """Renames tensors in the graph, its inputs and outputs, and the branches of its conditions."""
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _rename(attribute.g, names)
    for value in [*graph.input, *graph.output]:
        value.name = names.get(value.name, value.name)
