"""The signatures of the exported model in a server that combines requests into batches."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from examples import serving
from examples.pose.inference.signatures import (
    BATCHED_SIGNATURE,
    ENCODED_SIGNATURE,
    FILE_SIGNATURES,
    IMAGES_SIGNATURE,
)
from examples.serving import request_files
from examples.serving.messages import encode, strings
from tests.examples.serving import batching_session
from tests.examples.serving.batching_session import WAITS
from tests.examples.serving.test_export import read_warmup

CONFIG = Path(serving.__file__).parent / "config" / "batching.config"
PARAMETERS = batching_session.Parameters.read(CONFIG)
PADDING = dataclasses.replace(PARAMETERS, pad_variable_length_inputs=True)
PICTURES = request_files.generated_pictures([(96, 96), (37, 200), (1, 1), (300, 200)])
FILES = [
    encode(picture, file_format)
    for picture, file_format in zip(PICTURES, ("JPEG", "PNG", "BMP", "WEBP"), strict=True)
]
DAMAGED = [FILES[0][:300], b"", b"no picture", encode(PICTURES[0], "GIF")]


@pytest.fixture(scope="module")
def signatures(version):
    loaded = tf.saved_model.load(str(version))
    yield loaded.signatures
    del loaded


def run(signatures, name, requests, parameters=PARAMETERS):
    argument = "images" if name == IMAGES_SIGNATURE else "image_bytes"
    return batching_session.run(signatures[name], argument, requests, parameters)


def assert_same(answers, expected):
    assert len(answers) == len(expected)
    for answer, alone in zip(answers, expected, strict=True):
        assert isinstance(answer, dict), answer
        assert answer.keys() == alone.keys()
        for key, value in answer.items():
            assert value.shape == alone[key].shape
            # Convolutions of batches of other sizes may round differently.
            np.testing.assert_allclose(value, alone[key], rtol=1e-5, atol=1e-4, err_msg=key)


def answers_alone(signatures, name, requests):
    return [run(signatures, name, [request])[0] for request in requests]


@pytest.mark.parametrize("parameters", [PARAMETERS, PADDING], ids=["as_configured", "padding"])
@pytest.mark.parametrize("name", FILE_SIGNATURES)
def test_files_of_any_sizes_share_a_batch(signatures, name, parameters):
    requests = [strings(*FILES), strings(FILES[3]), strings(FILES[1], FILES[0])]
    answers = run(signatures, name, requests, parameters)
    assert_same(answers, answers_alone(signatures, name, requests))
    # Each file has its own answer, equal to the answer to its pixels.
    pixels = [run(signatures, IMAGES_SIGNATURE, [picture[np.newaxis]])[0] for picture in PICTURES]
    for row in (1, 2):  # lossless formats
        np.testing.assert_allclose(answers[0]["joints"][row], pixels[row]["joints"][0], atol=1e-3)
        np.testing.assert_allclose(answers[0]["scores"][row], pixels[row]["scores"][0], atol=1e-5)


def test_a_damaged_file_changes_only_its_own_answer(signatures):
    requests = [strings(FILES[0]), *map(strings, DAMAGED), strings(FILES[1], DAMAGED[0], FILES[2])]
    answers = run(signatures, BATCHED_SIGNATURE, requests)
    assert_same(answers, answers_alone(signatures, BATCHED_SIGNATURE, requests))
    decoded = [answer["decoded"].tolist() for answer in answers]
    assert decoded == [[True], *[[False]] * len(DAMAGED), [True, False, True]]
    for answer in answers:
        assert (answer["scores"].min(axis=1) > 0).tolist() == answer["decoded"].tolist()
        assert not answer["joints"][~answer["decoded"]].any()
    undamaged = run(signatures, ENCODED_SIGNATURE, [strings(FILES[1], FILES[2])])[0]
    for key, value in undamaged.items():
        np.testing.assert_allclose(answers[-1][key][[0, 2]], value, rtol=1e-5, atol=1e-4)


def test_requests_larger_than_a_batch_are_split(signatures):
    many = strings(*FILES, *DAMAGED, *FILES[::-1], *FILES, *FILES[1:3])
    assert len(many) > PARAMETERS.max_execution_batch_size
    requests = [strings(FILES[2]), many, strings(FILES[3])]
    answers = run(signatures, BATCHED_SIGNATURE, requests)
    one_call = signatures[BATCHED_SIGNATURE](image_bytes=tf.constant(many))
    alone = answers_alone(signatures, BATCHED_SIGNATURE, requests)
    alone[1] = {key: value.numpy() for key, value in one_call.items()}
    assert_same(answers, alone)


@pytest.mark.parametrize("name", [IMAGES_SIGNATURE, *FILE_SIGNATURES])
def test_an_empty_request_does_not_change_its_batch(signatures, name):
    if name == IMAGES_SIGNATURE:
        empty, request = np.zeros((0, 96, 96, 3), np.uint8), PICTURES[0][np.newaxis]
    else:
        empty, request = strings(), strings(*FILES)
    answers = run(signatures, name, [empty, request, empty])
    outputs = signatures[name].structured_outputs
    none = {key: np.zeros((0, *spec.shape[1:])) for key, spec in outputs.items()}
    assert_same(answers, [none, *answers_alone(signatures, name, [request]), none])
    assert run(signatures, name, [empty]) == [WAITS]


def test_a_damaged_file_fails_the_batch_of_the_other_signature(signatures):
    requests = [strings(FILES[0]), strings(DAMAGED[2])]
    for answer in run(signatures, ENCODED_SIGNATURE, requests):
        assert isinstance(answer, tf.errors.InvalidArgumentError)
        assert "Unknown image file format" in answer.message


def test_pixels_share_a_batch_only_if_their_sizes_are_equal(signatures):
    one_size = [PICTURES[0][np.newaxis], PICTURES[0][np.newaxis, ::-1], np.stack(PICTURES[:1] * 3)]
    alone = answers_alone(signatures, IMAGES_SIGNATURE, one_size)
    assert_same(run(signatures, IMAGES_SIGNATURE, one_size), alone)
    two_sizes = [one_size[0], PICTURES[1][np.newaxis]]
    for answer in run(signatures, IMAGES_SIGNATURE, two_sizes):
        assert "different shapes" in answer.message
    # What the server's message advises: the padded pictures are others, and so are the answers.
    padded = run(signatures, IMAGES_SIGNATURE, two_sizes, PADDING)
    alone = answers_alone(signatures, IMAGES_SIGNATURE, two_sizes)
    for answer, right in zip(padded, alone, strict=True):
        assert np.abs(answer["joints"] - right["joints"]).max() > 1


def test_malformed_requests(signatures):
    """A file without a batch axis is refused alone; two batch axes fail the batch."""
    good = strings(FILES[0])
    alone = answers_alone(signatures, BATCHED_SIGNATURE, [good])
    refused, answered = run(signatures, BATCHED_SIGNATURE, [np.array(FILES[0], dtype=object), good])
    assert isinstance(refused, tf.errors.OpError)
    assert_same([answered], alone)
    for answer in run(signatures, BATCHED_SIGNATURE, [good[:, np.newaxis], good]):
        assert isinstance(answer, tf.errors.OpError)


def test_warmup_requests_may_share_batches(signatures, version):
    requests = [log.predict_log.request for log in read_warmup(version)]
    for name in (IMAGES_SIGNATURE, *FILE_SIGNATURES):
        inputs = [
            tf.make_ndarray(tensor)
            for request in requests
            if request.model_spec.signature_name == name
            for tensor in request.inputs.values()
        ]
        assert inputs
        for answer in run(signatures, name, inputs):
            assert isinstance(answer, dict), answer
