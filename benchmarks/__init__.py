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
"""

import os

# TensorFlow's start-up messages would bury the tables.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
