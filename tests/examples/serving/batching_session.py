"""The server's `BatchingSession` in Python: combines requests to a signature into one call of it.

Restates `batching_session.cc` and `batching_util.cc` of TensorFlow Serving, and the rules of
TensorFlow's `shared_batch_scheduler.h` by which requests form batches.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

# Stands for the answer to a request that waits until a non-empty request joins its batch.
WAITS = "waits"
Answer = Mapping[str, np.ndarray] | tf.errors.OpError | str


@dataclasses.dataclass(frozen=True)
class Parameters:
    """The parameters in a file for `--batching_parameters_file` that change answers."""

    max_batch_size: int
    max_execution_batch_size: int | None = None
    enable_large_batch_splitting: bool = False
    pad_variable_length_inputs: bool = False

    @classmethod
    def read(cls, path: Path) -> "Parameters":
        """Reads the file. Raises a `TypeError` if it sets parameters that are not known here."""
        text = re.sub("#.*", "", path.read_text())
        values = dict(re.findall(r"(\w+) \{ value: (\w+) \}", text))
        for without_influence in ("batch_timeout_micros", "max_enqueued_batches"):
            assert int(values.pop(without_influence)) > 0
        assert int(values.pop("num_batch_threads")) > 0
        rest = re.sub(r"\w+ \{ value: \w+ \}", "", text).strip()
        assert not rest, f"not parsed: {rest}"
        return cls(**{k: v == "true" if v.isalpha() else int(v) for k, v in values.items()})


def run(
    signature: Callable[..., Mapping[str, tf.Tensor]],
    name: str,
    requests: Sequence[np.ndarray],
    parameters: Parameters,
) -> list[Answer]:
    """Answers requests that arrive while all threads of the server are busy.

    Args:
        signature: The signature to call.
        name: The name of its only input.
        requests: The input of each request.
        parameters: The server's parameters.

    Returns:
        For each request the outputs, an error, or `WAITS`.
    """
    parts, answers = [], {}
    for index, request in enumerate(requests):
        if np.ndim(request) == 0:
            answers[index] = _error("Batching session Run() input tensors must have a dimension")
        elif len(request) > parameters.max_batch_size:
            answers[index] = _error(f"Task size {len(request)} is larger than maximum")
        else:
            parts.append((index, request))
    results = {index: [] for index, _ in parts}
    for batch in _batches(parts, parameters):
        for (index, _), result in zip(
            batch, _run_batch(signature, name, [part for _, part in batch], parameters), strict=True
        ):
            results[index].append(result)
    return [answers.get(i) or _joined(results[i]) for i in range(len(requests))]


def _batches(parts, parameters):
    """Forms batches of at most `max_execution_batch_size` rows, in order of arrival."""
    splits = parameters.enable_large_batch_splitting
    limit = (splits and parameters.max_execution_batch_size) or parameters.max_batch_size
    batch, batches = [], []
    for index, part in parts:
        while True:
            rest = limit - sum(len(other) for _, other in batch)
            if len(part) <= rest:
                batch.append((index, part))
                break
            if splits and rest:
                batch.append((index, part[:rest]))
                part = part[rest:]
            batches.append(batch)
            batch = []
    return [*batches, batch] if batch else batches


def _run_batch(signature, name, parts, parameters) -> list[Answer]:
    count = sum(map(len, parts))
    if count == 0:
        return [WAITS] * len(parts)
    try:
        if parameters.pad_variable_length_inputs:
            parts = _padded(parts)
        if len({part.shape[1:] for part in parts}) > 1:
            raise _error("Tensors from different tasks have different shapes")
        merged = tf.concat([tf.constant(part) for part in parts], axis=0)
        outputs = {k: v.numpy() for k, v in signature(**{name: merged}).items()}
        if any(len(output) != count for output in outputs.values()):
            raise _error("Batched output tensor's 0th dimension does not equal the sum")
    except tf.errors.OpError as error:
        return [error] * len(parts)
    ends = np.cumsum([len(part) for part in parts])
    return [
        {k: output[end - len(part) : end] for k, output in outputs.items()}
        for part, end in zip(parts, ends, strict=True)
    ]


def _padded(parts):
    """Pads all axes but the first to the longest, with the first value of each array."""
    shape = np.max([part.shape[1:] for part in parts], axis=0, initial=0)
    padded = []
    for part in parts:
        if part.size == 0 and (part.shape[1:] < shape).any():
            raise _error("Got empty tensor in batch of non-empty tensors.")
        paddings = [(0, 0), *((0, n) for n in shape - part.shape[1:])]
        padded.append(np.pad(part, paddings, constant_values=part.flat[0]) if any(shape) else part)
    return padded


def _joined(results: list[Answer]) -> Answer:
    """Joins the answers to the parts of a request that was split."""
    for result in results:
        if not isinstance(result, dict):
            return result
    return {k: np.concatenate([result[k] for result in results]) for k in results[0]}


def _error(message: str) -> tf.errors.OpError:
    return tf.errors.FailedPreconditionError(None, None, message)
