"""Finds joints in images: predictors, exported models, and the search for a model by its path.

This file imports nothing, because `--help` shows these defaults without importing TensorFlow (see
`examples.pose.cli`).
"""

# The defaults of every command that predicts, measures or exports.
FLIP_TEST = True
DECODING = "quarter"
