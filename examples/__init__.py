"""Examples of models built with box convolutions."""

import os
import sys

# Hides TensorFlow's start-up messages about processors and GPUs, but not its errors. TensorFlow
# reads the variable when it is imported, and child processes inherit it. A value that the user set
# is kept.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# A command and the programs that it starts share a GPU. By default, the first takes all its memory.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

if sys.argv[:1] == ["-m"]:  # `python -m examples.X` imports this package first.
    from examples.pose.cli import interruption

    interruption.watch_imports()
