"""Sends pictures to TensorFlow ModelServer over REST, with Python's standard library and NumPy."""

import base64
import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request

import numpy as np

from examples.pose.inference.signatures import BATCHED_SIGNATURE
from examples.serving.messages import ServerError, one_line, require_decoded


def predict(address: str, model: str, image_bytes: bytes, timeout: float):
    """Sends a picture file; returns the joints `[J, 2]` and scores `[J]`.

    Args:
        address: Address of the server, such as `localhost:8501`.
        model: Name of the model.
        image_bytes: Content of a JPEG or PNG file.
        timeout: Seconds to wait for the answer.

    Raises:
        ServerError: The server cannot be reached, refuses the request, or gives no valid answer.
    """
    body = {
        "signature_name": BATCHED_SIGNATURE,
        "instances": [{"image_bytes": {"b64": base64.b64encode(image_bytes).decode()}}],
    }
    request = urllib.request.Request(
        f"http://{address}/v1/models/{urllib.parse.quote(model)}:predict",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            (answer,) = json.loads(_read(response, timeout))["predictions"]
        require_decoded(answer["decoded"], address)
        with np.errstate(over="ignore"):  # The caller checks for infinity.
            return np.array(answer["joints"], np.float32), np.array(answer["scores"], np.float32)
    except urllib.error.HTTPError as error:
        raise ServerError(f"{address}: {error.code}: {one_line(_message(error))}") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise ServerError(f"{address}: no answer: {one_line(reason)}") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ServerError(
            f"{address}: not the answer of a pose model ({type(error).__name__}: {one_line(error)})"
        ) from None


def _read(response: http.client.HTTPResponse, timeout: float) -> bytes:
    """Reads an answer. Raises `TimeoutError` after `timeout` seconds, even if data keeps coming."""
    end, content = time.monotonic() + timeout, b""
    while part := response.read1():
        content += part
        if time.monotonic() > end:
            raise TimeoutError("timed out")
    return content


def _message(error: urllib.error.HTTPError) -> str:
    """Returns the error message in the server's answer, else all of it, else the HTTP reason."""
    text = error.read().decode(errors="replace")
    try:
        return json.loads(text)["error"]
    except (ValueError, KeyError, TypeError):
        return text or error.reason
