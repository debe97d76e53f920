"""Code that all commands share: argument parser, errors, Ctrl-C, progress and child processes.

Every command is a module with a function `main`, which first parses the arguments and then imports
the modules that do the work. Importing TensorFlow takes seconds, and `--help` and a mistyped option
should not wait for it. At its top, a command therefore imports only modules that do not import
TensorFlow, Keras, JAX, PyTorch, tfds or Matplotlib. The choices of the options, such as the names
of the networks, are in the `__init__.py` of the folder they belong to.
"""
