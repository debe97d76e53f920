"""Shared by the commands: their parser, their errors, Ctrl-C and child processes.

Every command is a module with `make_parser` and `main`. `main` parses its arguments first and then
imports what does the work: TensorFlow takes seconds to import, which `--help` and a mistyped option
should not cost. A command therefore imports at its top only modules without TensorFlow, Keras, JAX,
PyTorch, tfds and Matplotlib. The names to choose from are in the `__init__.py` of each room.
"""
