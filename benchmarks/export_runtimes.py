"""Runs exported models in their own runtimes. Each loader returns a function of images.

Models must have one input, `image`, and one output. Used by tests and `benchmarks.export`.
"""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from examples.web.runtime import RuntimeMissingError, tfjs_runtime

Run = Callable[[np.ndarray], np.ndarray]
INPUT, OUTPUT = "image", "output_0"


def saved_model(path: Path, threads: int = 1) -> Run:
    """Loads a SavedModel. TensorFlow uses the process's threads, whatever `threads` says."""
    loaded = tf.saved_model.load(str(path))  # Signatures do not keep variables alive; `run` does.

    def run(images: np.ndarray) -> np.ndarray:
        signature = loaded.signatures["serving_default"]
        return signature(**{INPUT: tf.constant(images)})[OUTPUT].numpy()

    return run


class LiteRT:
    """LiteRT's interpreter. Inputs and outputs are float32, also those of integer models."""

    def __init__(self, path: Path, threads: int = 1):
        module = _module("ai_edge_litert.interpreter", "ai-edge-litert")
        self.interpreter = module.Interpreter(str(path), num_threads=threads)
        (self._entry,) = self.interpreter.get_input_details()
        (self._answer,) = self.interpreter.get_output_details()
        self._shape = None

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Runs a batch of any size."""
        if images.shape != self._shape:
            self._shape = images.shape
            self.interpreter.resize_tensor_input(self._entry["index"], images.shape)
            self.interpreter.allocate_tensors()
        self.interpreter.set_tensor(self._entry["index"], _quantized(images, self._entry))
        self.interpreter.invoke()
        return _dequantized(self.interpreter.get_tensor(self._answer["index"]), self._answer)


def _quantized(values: np.ndarray, detail: dict) -> np.ndarray:
    scale, zero = detail["quantization"]
    if not scale:
        return values
    limits = np.iinfo(detail["dtype"])
    integers = np.clip(np.round(values / scale) + zero, limits.min, limits.max)
    return integers.astype(detail["dtype"])


def _dequantized(values: np.ndarray, detail: dict) -> np.ndarray:
    scale, zero = detail["quantization"]
    return (values.astype(np.float32) - zero) * np.float32(scale) if scale else values


def onnx(path: Path, threads: int = 1) -> Run:
    """Loads a model into ONNX Runtime."""
    onnxruntime = _module("onnxruntime", "onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    return lambda images: session.run([OUTPUT], {INPUT: images})[0]


def openvino(path: Path, threads: int = 1) -> Run:
    """Loads a model into OpenVINO, in float32. Its default is bfloat16 on CPUs that support it."""
    module = _module("openvino", "openvino")
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    compiled = module.Core().compile_model(path / "model.xml", "CPU", options)
    return lambda images: compiled({INPUT: images})[OUTPUT]


class TensorFlowJS:
    """TensorFlow.js in Node, on its plain JavaScript backend: one thread, no SIMD."""

    def __init__(self, path: Path, threads: int = 1):
        node = shutil.which("node")
        if node is None:
            raise RuntimeMissingError("node is missing: install Node.js.")
        script = Path(__file__).with_name("run_tfjs.js")
        self._node = subprocess.Popen(
            [node, script, tfjs_runtime(), path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Runs a batch of any size."""
        (output,) = self.outputs(images)
        return output

    def outputs(self, images: np.ndarray) -> list[np.ndarray]:
        """Runs a batch of any size. Returns the outputs, sorted by their names."""
        answers = self._ask({"shape": images.shape, "data": images.ravel().tolist()})
        return [np.array(a["data"], np.float32).reshape(a["shape"]) for a in answers]

    def again(self) -> None:
        """Runs the batch of the last call again, without sending it again."""
        self._ask({})

    def _ask(self, message: dict) -> list[dict]:
        self._node.stdin.write(json.dumps(message) + "\n")
        self._node.stdin.flush()
        line = self._node.stdout.readline()
        if not line:
            raise RuntimeError(f"node ended with exit code {self._node.wait()}.")
        return json.loads(line)

    def __del__(self):
        if hasattr(self, "_node"):
            self._node.stdin.close()
            self._node.wait()
            self._node.stdout.close()


def _module(name: str, package: str):
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise RuntimeMissingError(f"{package} is missing: pip install {package}") from error


RUNTIMES = {
    "saved_model": saved_model,
    "saved_model_portable": saved_model,
    "litert": LiteRT,
    "onnx": onnx,
    "openvino": openvino,
    "tfjs": TensorFlowJS,
}
