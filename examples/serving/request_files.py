"""Writes requests and their expected answers for the C++ programs in `loader`.

`loader/request.h` describes the files. The expected answers are those of the Keras model, run
eagerly.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2

from examples.pose.inference.predictor import PosePredictor
from examples.pose.inference.signatures import (
    BATCHED_SIGNATURE,
    ENCODED_SIGNATURE,
    IMAGES_SIGNATURE,
)
from examples.serving.messages import encode, strings


@dataclasses.dataclass(frozen=True)
class Request:
    """One call of a signature.

    Attributes:
        signature: Name of the signature.
        inputs: An array for each input; dtype object for strings.
        outputs: The expected answer. Empty if the request must be refused.
    """

    signature: str
    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


def valid_requests(
    predictor: PosePredictor, pictures: Sequence[np.ndarray]
) -> Iterator[tuple[str, Request]]:
    """Yields names and requests that must be answered, such as each picture with both signatures.

    Args:
        predictor: Computes the expected answers.
        pictures: Pictures uint8 `[height, width, 3]` of any sizes.
    """
    for index, picture in enumerate(pictures):
        size = f"{index}_{picture.shape[0]}x{picture.shape[1]}"
        yield f"pixels_{size}", _answered(predictor, IMAGES_SIGNATURE, picture[np.newaxis])
        yield f"jpeg_{size}", _answered(predictor, ENCODED_SIGNATURE, strings(encode(picture)))
    two_files = [encode(pictures[0]), encode(pictures[-1], "PNG")]
    yield "files_of_two_sizes", _answered(predictor, ENCODED_SIGNATURE, strings(*two_files))
    yield "no_files", _answered(predictor, ENCODED_SIGNATURE, strings())
    damaged = [two_files[0], b"no picture", two_files[1], two_files[0][:100]]
    yield "some_damaged", _answered(predictor, BATCHED_SIGNATURE, strings(*damaged))
    yield "all_damaged", _answered(predictor, BATCHED_SIGNATURE, strings(b""))
    yield "no_files_batched", _answered(predictor, BATCHED_SIGNATURE, strings())
    three = np.repeat(pictures[0][np.newaxis], 3, axis=0)
    yield "three_pictures", _answered(predictor, IMAGES_SIGNATURE, three)


def invalid_requests(picture: np.ndarray) -> Iterator[tuple[str, Request]]:
    """Yields names and requests that must be refused. They are made from a valid picture."""
    jpeg = encode(picture)
    batch = picture[np.newaxis]
    pixels = {
        "rank_2": picture[..., 0],
        "rank_3": picture,
        "rank_5": batch[np.newaxis],
        "scalar": np.uint8(7),
        "grey": batch[..., :1],
        "four_channels": np.concatenate([batch, batch[..., :1]], axis=-1),
        "no_channels": batch[..., :0],
        "floats": batch.astype(np.float32),
        "integers": batch.astype(np.int32),
        "text": strings("text"),
        "0x0": np.zeros((1, 0, 0, 3), np.uint8),
        "0xN": np.zeros((2, 0, 9, 3), np.uint8),
        "Nx0": np.zeros((1, 9, 0, 3), np.uint8),
    }
    files = {
        "truncated_jpeg": strings(jpeg[: len(jpeg) // 2]),
        "jpeg_header_only": strings(jpeg[:20]),
        "no_picture": strings(b"no picture"),
        "empty_file": strings(b""),
        "one_damaged_of_two": strings(jpeg, jpeg[: len(jpeg) // 3]),
        "bytes_as_uint8": np.frombuffer(jpeg, np.uint8),
        "files_of_rank_0": np.array(jpeg, dtype=object),
        "files_of_rank_2": strings(jpeg, jpeg).reshape(1, 2),
    }
    for name, array in pixels.items():
        yield f"invalid_pixels_{name}", Request(IMAGES_SIGNATURE, {"images": array})
    for name, array in files.items():
        yield f"invalid_file_{name}", Request(ENCODED_SIGNATURE, {"image_bytes": array})
    yield "missing_input", Request(IMAGES_SIGNATURE, {})
    for name in ("bytes_as_uint8", "files_of_rank_0", "files_of_rank_2"):
        yield f"invalid_batched_{name}", Request(BATCHED_SIGNATURE, {"image_bytes": files[name]})


def generated_pictures(sizes: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    """Returns a smooth random picture for each (height, width)."""
    random = np.random.default_rng(0)

    def picture(height, width):
        coarse = random.integers(0, 256, size=(5, 5, 3), dtype=np.uint8)
        return np.asarray(Image.fromarray(coarse).resize((width, height), Image.BICUBIC))

    return [picture(height, width) for height, width in sizes]


def write(folder, saved_model, requests: Mapping[str, Request]) -> None:
    """Writes requests, and the names of the graph tensors of a SavedModel's signatures.

    Args:
        folder: Folder to create.
        saved_model: Folder of the SavedModel.
        requests: The requests by name.
    """
    folder = Path(folder)
    for name, request in requests.items():
        request_folder = folder / "requests" / name
        _write_file(request_folder / "signature", request.signature.encode())
        for kind, arrays in (("inputs", request.inputs), ("outputs", request.outputs)):
            for key, array in arrays.items():
                _write_file(request_folder / kind / key, _tensor_bytes(np.asarray(array)))
    model = saved_model_pb2.SavedModel()
    model.ParseFromString((Path(saved_model) / "saved_model.pb").read_bytes())
    for name, signature in model.meta_graphs[0].signature_def.items():
        for kind in ("inputs", "outputs"):
            for key, info in getattr(signature, kind).items():
                _write_file(folder / "signatures" / name / kind / key, info.name.encode())


def _answered(predictor: PosePredictor, signature: str, array: np.ndarray) -> Request:
    """Makes a request with the predictor's answer to it."""
    function, argument = {
        IMAGES_SIGNATURE: (predictor.predict_images, "images"),
        ENCODED_SIGNATURE: (predictor.predict_encoded, "image_bytes"),
        BATCHED_SIGNATURE: (predictor.predict_batched, "image_bytes"),
    }[signature]
    feed = tf.constant(array, tf.string if array.dtype == object else None)
    answer = function.python_function(feed)
    outputs = {name: tensor.numpy() for name, tensor in answer.items()}
    return Request(signature, {argument: array}, outputs)


def _tensor_bytes(array: np.ndarray) -> bytes:
    """Encodes an array in the format that `loader/request.h` describes."""
    is_string = array.dtype == object
    dtype = "string" if is_string else array.dtype.name
    header = " ".join([dtype, *map(str, array.shape)]).encode() + b"\n"
    if not is_string:
        return header + np.ascontiguousarray(array).tobytes()
    values = [value.encode() if isinstance(value, str) else value for value in array.ravel()]
    return header + b"".join(b"%d\n%b" % (len(value), value) for value in values)


def _write_file(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
