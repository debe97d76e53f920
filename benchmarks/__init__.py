"""Benchmarks. Each is a command that describes the machine and the versions, and prints figures.

| command | measures |
| --- | --- |
| `python -m benchmarks.operator` | time of the operator and its rivals, in named suites |
| `python -m benchmarks.layers` | time of `BoxConv2D` and other whole layers |
| `python -m benchmarks.memory` | memory beyond inputs, outputs and gradients |
| `python -m benchmarks.model` | speed of the pose network with boxes and with depthwise kernels |
| `python -m benchmarks.acceptance` | which of the project's budgets are kept |
| `python -m benchmarks.backends` | training of the pose network with every Keras backend |
| `python -m benchmarks.export` | error, size and speed of every export format |
| `python -m benchmarks.quantized_pose` | accuracy of 8-bit pose networks |
| `python -m benchmarks.input_pipeline` | speed of the pose example's training batches |
| `python -m benchmarks.compiled` | operator and training step with and without XLA, and on JAX |
| `python -m benchmarks.gpu` | the CUDA kernels without a framework (`make gpu-check`) |
| `python -m benchmarks.coordinate_scale` | training with different scales of the box coordinates |
| `python -m benchmarks.kill_training` | whether a training that is killed and resumed ends alike |
"""

import os
import sys

from examples.pose.cli import interruption

if sys.argv[:1] == ["-m"]:  # `python -m benchmarks.X` imports this package first.
    interruption.watch_imports()

# TensorFlow's start-up messages would bury the tables.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
