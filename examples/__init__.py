"""Examples of models built with box convolutions."""

import os
import sys

# TensorFlow reads this once, as it is imported; child processes inherit it. It hides start-up
# messages about processors and GPUs. Errors are still shown, and a value that the user set is kept.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

if sys.argv[:1] == ["-m"]:  # `python -m examples.X` imports this package first.
    from examples.pose.cli import interruption

    interruption.watch_imports()
