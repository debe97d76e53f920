"""Helpers shared by the gRPC and REST clients. They do not need the op library."""

import io
import textwrap

import numpy as np
from PIL import Image

from examples.pose.cli.errors import UserError


class ServerError(UserError):
    """The server cannot be reached or does not answer properly; the message is for the user."""


def encode(picture: np.ndarray, file_format: str = "JPEG") -> bytes:
    """Encodes a picture as a file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, file_format)
    return buffer.getvalue()


def strings(*values) -> np.ndarray:
    """Returns a one-dimensional object array. NumPy's bytes type would cut trailing zeros."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def one_line(message) -> str:
    """Joins the lines of a message into one and shortens it."""
    return textwrap.shorten(str(message), 500, placeholder="...")
