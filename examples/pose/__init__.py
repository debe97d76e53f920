"""Human pose estimation with box convolutions."""

import sys

if sys.argv[:1] == ["-m"]:  # `python -m examples.pose.X` imports this package first.
    from examples.pose import interruption

    interruption.watch_imports()
