"""Measurements: each is a command that prints the machine, the versions and its figures.

| command | what |
| --- | --- |
| `python -m benchmarks.operator` | the operator beside its rivals, in named suites |
| `python -m benchmarks.memory` | memory beyond inputs, outputs and gradients |
| `python -m benchmarks.model` | the pose network beside its depthwise twins |
| `python -m benchmarks.acceptance` | the project's budgets, kept or missed |
| `python -m benchmarks.compiled` | under XLA: TensorFlow compiled or not, and JAX |
| `python -m benchmarks.gpu` | the CUDA kernels by themselves (`make gpu-check`) |
| `python -m benchmarks.coordinate_scale` | how stored coordinates should be scaled |
| `python -m benchmarks.kill_training` | a training that is killed and resumed ends the same |
"""

import os
import sys

from examples.pose.cli import interruption

if sys.argv[:1] == ["-m"]:  # `python -m benchmarks.X` imports this package first.
    interruption.watch_imports()

# TensorFlow's start-up messages would bury the tables.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
