"""Imports TensorFlow Serving's protocol buffers from the package `tensorflow-serving-api`.

The package depends on `tensorflow`, which pip would install over `tensorflow-cpu`. `--no-deps`
avoids this; any TensorFlow 2.21 suffices.
"""

import importlib

from examples.pose.cli.errors import UserError

INSTALL = 'pip install grpcio && pip install --no-deps "tensorflow-serving-api>=2.21,<2.22"'


class ServingApiError(UserError):
    """The package is not installed; the message says how to install it."""


def load(*names: str) -> list:
    """Returns modules of `tensorflow_serving.apis`.

    Raises:
        ServingApiError: The modules cannot be imported.
    """
    try:
        return [importlib.import_module(f"tensorflow_serving.apis.{name}") for name in names]
    except ImportError as error:
        raise ServingApiError(
            f"tensorflow-serving-api cannot be imported ({error}); install it with: {INSTALL}"
        ) from None
