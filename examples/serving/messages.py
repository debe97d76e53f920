"""Helpers that the gRPC and REST clients share. They do not import TensorFlow."""

import io
import textwrap

import numpy as np
from PIL import Image

from examples.pose.cli.errors import UserError


class ServerError(UserError):
    """The server cannot be reached, refused the request, or gave no valid answer."""


def encode(picture: np.ndarray, file_format: str = "JPEG") -> bytes:
    """Encodes a picture as a file, if it is a JPEG in the quality of the prepared data sets."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, file_format, quality=95)
    return buffer.getvalue()


def strings(*values) -> np.ndarray:
    """Returns strings as an object array `[n]`. NumPy's bytes type would drop trailing zeros."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def require_decoded(decoded: bool, address: str) -> None:
    """Raises a `ServerError` if the server could not decode the picture that it was sent."""
    if not decoded:
        raise ServerError(
            f"{address}: the server cannot decode the picture. The signature `serving_encoded` "
            "answers with the reason."
        )


def one_line(message) -> str:
    """Joins the lines of a message into one and shortens it."""
    return textwrap.shorten(str(message), 500, placeholder="...")
