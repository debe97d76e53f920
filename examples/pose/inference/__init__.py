"""From image files to joints: predictors, exported models, and how they are found.

This file imports nothing, because the commands show these defaults before they import anything
heavy (see `examples.pose.cli`).
"""

# The defaults of every command that predicts, measures or exports.
FLIP_TEST = True
DECODING = "quarter"
