"""Runs exported models in their own runtimes. Each loader returns a function of images.

Models must have one input. As in Keras, the function returns an array if the model has one output,
and a list of arrays if there are several. Used by tests and `benchmarks.export`.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from examples.web.runtime import RuntimeMissingError, tfjs_runtime

Run = Callable[[np.ndarray], "np.ndarray | list[np.ndarray]"]


@dataclasses.dataclass(frozen=True)
class Names:
    """Names of a model's input and outputs. The defaults are those of `tf_boxconv.export`."""

    input: str = "image"
    outputs: tuple[str, ...] = ("output_0",)


def saved_model(path: Path, threads: int = 1, names: Names = Names()) -> Run:
    """Loads a SavedModel. TensorFlow uses the process's threads, whatever `threads` says."""
    loaded = tf.saved_model.load(str(path))  # Signatures do not keep variables alive; `run` does.

    def run(images: np.ndarray):
        answer = loaded.signatures["serving_default"](**{names.input: tf.constant(images)})
        return _one_or_all([answer[name].numpy() for name in names.outputs])

    return run


class LiteRT:
    """LiteRT's interpreter. Images are given as they are, also to models with integer inputs."""

    def __init__(self, path: Path, threads: int = 1, names: Names = Names()):
        module = _module("ai_edge_litert.interpreter", "ai-edge-litert")
        self.interpreter = module.Interpreter(str(path), num_threads=threads)
        self._run = self.interpreter.get_signature_runner()
        self._names = names
        self._input = self._run.get_input_details()[names.input]
        self._outputs = self._run.get_output_details()

    def __call__(self, images: np.ndarray):
        """Runs a batch of any size."""
        answer = self._run(**{self._names.input: _quantized(images, self._input)})
        return _one_or_all(
            [_dequantized(answer[name], self._outputs[name]) for name in self._names.outputs]
        )


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


def onnx(path: Path, threads: int = 1, names: Names = Names()) -> Run:
    """Loads a model into ONNX Runtime."""
    onnxruntime = _module("onnxruntime", "onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    return lambda images: _one_or_all(session.run(names.outputs, {names.input: images}))


def openvino(path: Path, threads: int = 1, names: Names = Names()) -> Run:
    """Loads a model into OpenVINO, in float32. Its default is bfloat16 on CPUs that support it."""
    module = _module("openvino", "openvino")
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    compiled = module.Core().compile_model(path / "model.xml", "CPU", options)

    def run(images: np.ndarray):
        answer = compiled({names.input: images})
        return _one_or_all([answer[name] for name in names.outputs])

    return run


class TensorFlowJS:
    """TensorFlow.js in Node, on its plain JavaScript backend: one thread, no SIMD.

    Graph models have one input and return their outputs sorted by name.
    """

    def __init__(self, path: Path, threads: int = 1, names: Names = Names()):
        node = shutil.which("node")
        if node is None:
            raise RuntimeMissingError("node is missing: install Node.js.")
        self._order = [sorted(names.outputs).index(name) for name in names.outputs]
        script = Path(__file__).with_name("run_tfjs.js")
        self._node = subprocess.Popen(
            [node, script, tfjs_runtime(), path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, images: np.ndarray):
        """Runs a batch of any size."""
        answers = self._ask({"shape": images.shape, "data": images.ravel().tolist()})
        outputs = [np.array(a["data"], np.float32).reshape(a["shape"]) for a in answers]
        return _one_or_all([outputs[i] for i in self._order])

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


def _one_or_all(outputs: list[np.ndarray]) -> np.ndarray | list[np.ndarray]:
    return outputs[0] if len(outputs) == 1 else outputs


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
