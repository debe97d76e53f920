"""Each format's own runtime: from what `export` wrote to a function on float32 images."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from examples.web.runtime import RuntimeMissingError, tfjs_runtime

SUFFIX = {"litert": ".tflite", "onnx": ".onnx"}


def litert(path):
    module = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is missing")
    interpreter = module.Interpreter(str(path), num_threads=1)
    (entry,) = interpreter.get_input_details()
    (answer,) = interpreter.get_output_details()

    def run(x):
        interpreter.resize_tensor_input(entry["index"], x.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(entry["index"], x)
        interpreter.invoke()
        return interpreter.get_tensor(answer["index"])

    return run


def onnx(path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is missing")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda x: session.run(["output_0"], {"image": x})[0]


def openvino(path):
    module = pytest.importorskip("openvino", reason="openvino is missing")
    # Without the hint it computes in bfloat16 where the processor can.
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = module.Core().compile_model(path / "model.xml", "CPU", hint)
    return lambda x: compiled({"image": x})["output_0"]


def tfjs(path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is missing")
    try:
        runtime = tfjs_runtime()
    except RuntimeMissingError as error:
        pytest.skip(str(error))

    def run(x):
        feeds, results = path.parent / "feeds.json", path.parent / "results.json"
        feed = {"image": {"shape": x.shape, "data": x.ravel().tolist()}}
        feeds.write_text(json.dumps([feed]))
        script = Path(__file__).with_name("run_tfjs.js")
        command = [node, script, runtime, path, feeds, results]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        answer = json.loads(results.read_text())[0]["output_0"]
        return np.array(answer["data"], np.float32).reshape(answer["shape"])

    return run


def saved_model(path):
    signature = tf.saved_model.load(str(path)).signatures["serving_default"]
    return lambda x: signature(image=tf.constant(x))["output_0"].numpy()


RUNTIMES = {
    "saved_model": saved_model,
    "saved_model_portable": saved_model,
    "litert": litert,
    "onnx": onnx,
    "openvino": openvino,
    "tfjs": tfjs,
}
NEEDS = {"onnx": ("onnx", "tf2onnx"), "openvino": ("openvino",)}


def require_converter(format):
    for name in NEEDS.get(format, ()):
        pytest.importorskip(name, reason=f"{name} is missing")
