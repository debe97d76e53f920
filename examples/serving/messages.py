"""What both clients send and get; importing it needs no op library."""

import io
import textwrap

import numpy as np
from PIL import Image

from examples.pose.cli.errors import UserError


class ServerError(UserError):
    """The server did not answer as asked; the message is one for the user."""


def encode(picture: np.ndarray, file_format: str = "JPEG") -> bytes:
    """A picture as a file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, file_format)
    return buffer.getvalue()


def strings(*values) -> np.ndarray:
    """A one-dimensional array of strings; NumPy's own would cut trailing zero bytes."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def one_line(message) -> str:
    """A message of several lines as one, shortened."""
    return textwrap.shorten(str(message), 500, placeholder="...")
