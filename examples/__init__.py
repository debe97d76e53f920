"""Examples of models built with box convolutions."""

import sys

if sys.argv[:1] == ["-m"]:  # `python -m examples.X` imports this package first.
    from examples.pose.cli import interruption

    interruption.watch_imports()
