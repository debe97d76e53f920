"""Exporters of Keras and the frameworks record the portable path, unless they keep custom ops."""

import keras
import numpy as np
import pytest

import tf_boxconv
from tests import tolerances
from tests.images import images
from tests.seeds import seed_weights
from tf_boxconv.layers import BoxBottleneck, BoxConv2D

BACKEND = keras.config.backend()
on_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow only")
on_jax = pytest.mark.skipif(BACKEND != "jax", reason="JAX only")
on_torch = pytest.mark.skipif(BACKEND != "torch", reason="PyTorch only")


@pytest.fixture(scope="module")
def model():
    seed_weights(0)
    layers = [BoxConv2D(4, activation="relu", dtype="float32"), BoxBottleneck(2, dtype="float32")]
    return keras.Sequential([keras.Input((8, 9, 3), dtype="float32"), *layers])


@pytest.fixture(scope="module")
def x():
    return images((1, 8, 9, 3))


@pytest.fixture(scope="module")
def expected(model, x):
    return keras.ops.convert_to_numpy(model(x))


def run_onnx(path, x):
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def run_openvino(path, x):
    core = pytest.importorskip("openvino").Core()
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    return next(iter(core.compile_model(str(path), "CPU", options)([x]).values()))


def run_litert(path, x):
    module = pytest.importorskip("ai_edge_litert.interpreter")
    interpreter = module.Interpreter(str(path))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


@pytest.mark.skipif(BACKEND == "jax", reason="Keras needs another package to export from JAX")
@pytest.mark.parametrize(
    ("format", "name", "run", "needs"),
    [
        ("onnx", "model.onnx", run_onnx, "onnx"),
        ("openvino", "model.xml", run_openvino, "openvino"),
        pytest.param("litert", "model.tflite", run_litert, "ai_edge_litert", marks=on_tensorflow),
    ],
)
def test_keras_exports_equal_the_model(model, x, expected, tmp_path, format, name, run, needs):
    pytest.importorskip(needs)
    if not hasattr(keras.src.export, f"export_{format}"):
        pytest.skip(f"this Keras does not export to {format}")
    model.export(str(tmp_path / name), format=format, verbose=False)
    np.testing.assert_allclose(run(tmp_path / name, x), expected, **tolerances.VALUES["float32"])


@on_tensorflow
def test_the_tensorflow_lite_converter_equals_the_model(model, x, expected, tmp_path):
    import tensorflow as tf

    if tf.__version__.startswith("2.16."):
        pytest.skip("the converter of TensorFlow 2.16 aborts on models of Keras 3")
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    (tmp_path / "model.tflite").write_bytes(converter.convert())
    np.testing.assert_allclose(
        run_litert(tmp_path / "model.tflite", x), expected, **tolerances.VALUES["float32"]
    )


@on_tensorflow
@pytest.mark.usefixtures("fused_on_all_planes")
def test_keras_saved_models_keep_the_compiled_operators(model, tmp_path):
    from tf_boxconv.exporting import saved_model_graph

    compiled = ["BoxConv>BoxConv2D", "BoxConv>SeparableBoxConv2D"]
    model.export(str(tmp_path / "model"), verbose=False)
    assert saved_model_graph.custom_ops(tmp_path / "model") == compiled
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", model.call, model.inputs)
    archive.write_out(str(tmp_path / "archive"), verbose=False)
    assert saved_model_graph.custom_ops(tmp_path / "archive") == compiled


@on_jax
@pytest.mark.parametrize("batch", ["1", "batch"])
def test_jax_export_equals_the_model(model, x, expected, batch):
    import jax
    from jax import export

    shape = export.symbolic_shape(f"{batch}, 8, 9, 3")
    exported = export.export(jax.jit(lambda x: model(x)))(jax.ShapeDtypeStruct(shape, x.dtype))
    loaded = export.deserialize(exported.serialize())
    assert "custom_call @tf_boxconv" not in exported.mlir_module()
    np.testing.assert_allclose(loaded.call(x), expected, **tolerances.VALUES["float32"])


@on_jax
def test_a_saved_model_exported_from_jax_equals_the_model(model, x, expected, tmp_path):
    tf = pytest.importorskip("tensorflow")
    model.export(str(tmp_path / "model"), verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    np.testing.assert_allclose(loaded.serve(x), expected, **tolerances.VALUES["float32"])


@on_torch
@pytest.mark.parametrize("strict", [False, True])
def test_torch_export_equals_the_model(model, x, expected, strict):
    import torch

    exported = torch.export.export(model, (torch.tensor(x),), strict=strict)
    targets = [str(node.target) for node in exported.graph.nodes if node.op == "call_function"]
    assert targets and not any(target.startswith("tf_boxconv") for target in targets)
    answer = exported.module()(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(answer, expected, **tolerances.VALUES["float32"])


@on_torch
def test_torch_compile_keeps_the_compiled_operator():
    import torch

    boxes = torch.tensor([[[-1.0, -1.0, 1.0, 1.0]]])
    seen = []

    def backend(graph, _):
        seen.extend(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    function = torch.compile(lambda x: tf_boxconv.box_conv2d(x, boxes), backend=backend)
    function(torch.ones(1, 5, 5, 1))
    assert any("tf_boxconv.box_conv2d" in target for target in seen)
