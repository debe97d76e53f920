"""Both clients against a stand-in for the server that runs the real exported model."""

import importlib
import os
import subprocess
import sys

import numpy as np
import pytest

from examples.pose import drawing
from examples.pose.datasets.pose_features import LSP_SKELETON
from examples.pose.images import read_image, write_image
from examples.serving import client
from examples.serving.messages import ServerError, encode

pytest.importorskip("tensorflow_serving.apis")
from tests.examples.serving import fake_server

PROTOCOLS = ("grpc", "rest")


@pytest.fixture(scope="module")
def addresses(version):
    model = fake_server.Model(version)
    with fake_server.grpc_server(model) as grpc, fake_server.rest_server(model) as rest:
        yield {"grpc": grpc, "rest": rest}


@pytest.fixture
def photo(photos, tmp_path):
    path = tmp_path / "photo.png"
    write_image(path, photos[0])
    return path


def predict(protocol, *arguments):
    module = importlib.import_module(f"examples.serving.{protocol}_client")
    return module.predict(*arguments, 30)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_gives_the_models_answer(addresses, predictor, photos, protocol):
    file = encode(photos[0])
    joints, scores = predict(protocol, addresses[protocol], "pose", file)
    expected = predictor.predict_encoded([file])
    np.testing.assert_allclose(joints, expected["joints"][0], atol=1e-2)
    np.testing.assert_allclose(scores, expected["scores"][0], atol=1e-4)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_says_what_the_server_says(addresses, protocol):
    with pytest.raises(ServerError, match=r"(?s)(INVALID_ARGUMENT|400): .*Unknown image file"):
        predict(protocol, addresses[protocol], "pose", b"no picture at all")
    with pytest.raises(ServerError, match=r"(NOT_FOUND|404): Servable not found.*hands"):
        predict(protocol, addresses[protocol], "hands", b"")
    with pytest.raises(ServerError, match=r"127\.0\.0\.1:1: "):
        predict(protocol, "127.0.0.1:1", "pose", b"")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_command_draws_the_answer(addresses, photo, version, tmp_path, capsys, protocol):
    output = tmp_path / "pose.png"
    skeleton = str(version / "assets" / "skeleton.json")
    arguments = [f"--{protocol}", addresses[protocol], "--output", str(output)]
    client.main([str(photo), *arguments, "--skeleton", skeleton])
    image = read_image(photo)
    joints, scores = predict(protocol, addresses[protocol], "pose", encode(image))
    visibility = drawing.visibility_of_scores(scores, 0.5)
    drawn = drawing.draw_pose(image, joints, visibility, LSP_SKELETON, min_size=client.DRAWING_SIZE)
    np.testing.assert_array_equal(read_image(output), drawn)
    assert "head top" in capsys.readouterr().out


def test_command_errors_are_one_line(addresses, photo, tmp_path, capsys):
    output = ["--output", str(tmp_path / "pose.png")]
    for arguments, message in [
        ([str(photo), "--grpc", "127.0.0.1:1", *output, "--timeout", "5"], "127.0.0.1:1"),
        ([str(photo), "--rest", addresses["rest"], *output, "--model", "hands"], "hands"),
        ([str(tmp_path / "none.png"), "--rest", addresses["rest"], *output], "no such file"),
        ([str(photo), "--rest", addresses["rest"], *output, "--skeleton", "nowhere"], "nowhere"),
    ]:
        with pytest.raises(SystemExit) as raised:
            client.main(arguments)
        error = str(raised.value.code)
        assert error.startswith("error: ") and message in error and "\n" not in error
    with pytest.raises(SystemExit):
        client.main([str(photo), "--rest", addresses["rest"], "--output", "pose.txt"])
    assert "must end in .png" in capsys.readouterr().err
    assert not (tmp_path / "pose.png").exists()


def test_needs_no_op_library(addresses, photo, tmp_path):
    """A client's machine has neither the op library nor Keras's layers loaded."""
    code = (
        "import sys; sys.modules['tf_boxconv'] = None\n"
        "from examples.serving import client; client.main(sys.argv[1:])"
    )
    for protocol in PROTOCOLS:
        output = tmp_path / f"{protocol}.png"
        arguments = [str(photo), f"--{protocol}", addresses[protocol], "--output", str(output)]
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert output.exists()
