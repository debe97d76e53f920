"""Examples of models built with box convolutions."""

import os
import sys

# Hides TensorFlow's start-up messages about processors and GPUs, but not its errors. TensorFlow
# reads the variable when it is imported, and child processes inherit it. A value that the user set
# is kept.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

if sys.argv[:1] == ["-m"]:  # `python -m examples.X` imports this package first.
    from examples.pose.cli import interruption

    interruption.watch_imports()
