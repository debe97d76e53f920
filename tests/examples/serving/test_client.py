"""Both clients against a stand-in for the server, which runs the real exported model."""

import contextlib
import http.server
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from examples.pose.datasets.skeletons import LSP_SKELETON, Skeleton
from examples.pose.images import drawing
from examples.pose.images.image_files import read_image, write_image
from examples.serving import client
from examples.serving.messages import ServerError, encode
from tests.examples.commands import refused

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
def test_answers_are_those_of_the_model(addresses, predictor, photos, protocol):
    file = encode(photos[0])
    joints, scores = predict(protocol, addresses[protocol], "pose", file)
    expected = predictor.predict_encoded([file])
    np.testing.assert_allclose(joints, expected["joints"][0], atol=1e-2)
    np.testing.assert_allclose(scores, expected["scores"][0], atol=1e-4)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_errors_of_the_server_are_passed_on(addresses, protocol):
    with pytest.raises(ServerError, match="the server cannot decode the picture"):
        predict(protocol, addresses[protocol], "pose", b"no picture at all")
    with pytest.raises(ServerError, match=r"(NOT_FOUND|404): Servable not found.*hands"):
        predict(protocol, addresses[protocol], "hands", b"")
    with pytest.raises(ServerError, match=r"127\.0\.0\.1:1: "):
        predict(protocol, "127.0.0.1:1", "pose", b"")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_command_draws_the_answer(addresses, photo, version, tmp_path, capsys, protocol):
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


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_command_in_the_docs_sends_large_files(addresses, predictor, tmp_path):
    docs = (Path(__file__).parents[3] / "docs" / "serving.md").read_text()
    (command,) = re.findall(r"^    (\(printf.*\n.*:predict)$", docs, re.M)
    # 128 KiB is the limit for an argument of a command.
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    (tmp_path / "photo.jpg").write_bytes(encode(noise, "PNG"))
    assert (tmp_path / "photo.jpg").stat().st_size > 2**17
    command = command.replace("localhost:8501", addresses["rest"])
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    (answer,) = json.loads(done.stdout)["predictions"]
    joints, scores = predictor.predict(noise)
    assert answer["decoded"]
    np.testing.assert_allclose(answer["joints"], joints, atol=1e-2)
    np.testing.assert_allclose(answer["scores"], scores, atol=1e-4)


def test_errors_of_the_command_are_one_line(addresses, photo, tmp_path, capsys):
    output = ["--output", str(tmp_path / "pose.png")]
    for arguments, message in [
        ([str(photo), "--grpc", "127.0.0.1:1", *output, "--timeout", "5"], "127.0.0.1:1"),
        ([str(photo), "--rest", addresses["rest"], *output, "--model", "hands"], "hands"),
        ([str(tmp_path / "none.png"), "--rest", addresses["rest"], *output], "no such file"),
        ([str(photo), "--rest", addresses["rest"], *output, "--skeleton", "nowhere"], "nowhere"),
    ]:
        assert message in refused(client.main, *arguments)
    with pytest.raises(SystemExit):
        client.main([str(photo), "--rest", addresses["rest"], "--output", "pose.txt"])
    assert "must end in .png" in capsys.readouterr().err
    assert not (tmp_path / "pose.png").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--grpc", "localhost"], "must be HOST:PORT"),
        (["--grpc", "localhost:"], "must be HOST:PORT"),
        (["--rest", "localhost:http"], "must be HOST:PORT"),
        (["--rest", "http://localhost:8501"], "must be HOST:PORT"),
        (["--rest", "localhost:0"], "must be HOST:PORT"),
        (["--rest", "localhost:99999"], "must be HOST:PORT"),
        (["--rest", ":8501"], "must be HOST:PORT"),
        (["--rest", "a:1", "--grpc", "a:1"], "not allowed with"),
        ([], "one of the arguments --grpc --rest is required"),
        (["--rest", "a..b:1"], "must be HOST:PORT"),
        (["--rest", "a" * 64 + ":1"], "must be HOST:PORT"),
        (["--rest", "a:1", "--timeout", "1e300"], "at most 1000000"),
        (["--rest", "a:1", "--min_score", "x"], "must be a number"),
        (["--rest", "a:1", "--min_score", "3"], "must be from 0 to 1"),
        (["--rest", "a:1", "--min_score", "nan"], "must be from 0 to 1"),
        (["--rest", "a:1", "--timeout", "0"], "must be more than 0"),
        (["--rest", "a:1", "--timeout", "nan"], "must be more than 0"),
        (["--rest", "a:1", "--timeout", "inf"], "must be more than 0"),
    ],
)
def test_bad_arguments_are_refused(capsys, arguments, words):
    with pytest.raises(SystemExit) as raised:
        client.main(["photo.png", "--output", "pose.png", *arguments])
    assert raised.value.code == 2 and words in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_input_is_not_overwritten(photo, tmp_path, monkeypatch, protocol):
    monkeypatch.chdir(tmp_path)
    before = photo.read_bytes()
    for output in ("photo.png", "./photo.png", str(photo)):
        arguments = ["photo.png", f"--{protocol}", "127.0.0.1:1", "--output", output]
        assert "would overwrite the input" in refused(client.main, *arguments)
    assert photo.read_bytes() == before


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"joint_names": 3}'])
def test_files_that_are_no_skeleton_are_refused(photo, tmp_path, content):
    (tmp_path / "skeleton.json").write_text(content)
    arguments = ["--skeleton", str(tmp_path / "skeleton.json"), "--rest", "127.0.0.1:1"]
    message = refused(client.main, photo, "--output", tmp_path / "o.png", *arguments)
    assert message.startswith("error: --skeleton ") and "is not the skeleton" in message


def test_a_skeleton_with_another_number_of_joints_is_refused(addresses, photo, tmp_path):
    path = tmp_path / "skeleton.json"
    path.write_text(json.dumps(Skeleton(("neck",), (), (), (0, 0)).to_metadata()))
    for protocol in PROTOCOLS:
        arguments = ["--skeleton", str(path), f"--{protocol}", addresses[protocol]]
        message = refused(client.main, photo, "--output", tmp_path / "o.png", *arguments)
        assert "[14, 2], but the skeleton has 1 joints" in message


def test_the_port_of_the_other_protocol_gives_a_one_line_error(addresses, photo, tmp_path):
    for protocol, other in zip(PROTOCOLS, reversed(PROTOCOLS), strict=True):
        arguments = [f"--{protocol}", addresses[other], "--timeout", "10"]
        message = refused(client.main, photo, "--output", tmp_path / "o.png", *arguments)
        assert message.startswith(f"error: {addresses[other]}: ")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"[]",
        b"{}",
        b'{"predictions": []}',
        b'{"predictions": [{}]}',
        b'{"predictions": [{"joints": [[1, 1]], "scores": [1]}]}',
        b'{"predictions": [{"joints": "x", "scores": [1], "decoded": true}]}',
        b'{"predictions": [{"joints": [[NaN, 1]], "scores": [NaN], "decoded": true}]}',
        b'{"predictions": ' + 100_000 * b"[",
        b'{"predictions": [{"joints": ['
        + b",".join(14 * [b"[1e300, 1]"])
        + b'], "scores": ['
        + b",".join(14 * [b"1"])
        + b'], "decoded": true}]}',
    ],
)
def test_a_malformed_answer_gives_a_one_line_error(photo, tmp_path, body):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_port}"
        message = refused(client.main, photo, "--rest", address, "--output", tmp_path / "o.png")
        server.shutdown()
    assert message.startswith(f"error: {address}: ")


def test_the_timeout_counts_from_the_start_of_an_answer(photo, tmp_path):
    """A socket's own timeout would count from the last byte."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(100):
                    self.wfile.write(b" ")
                    time.sleep(0.2)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        arguments = ["--rest", f"127.0.0.1:{server.server_port}", "--timeout", "0.5"]
        start = time.monotonic()
        message = refused(client.main, photo, *arguments, "--output", tmp_path / "o.png")
        server.shutdown()
    assert "no answer: timed out" in message and time.monotonic() - start < 10


def test_clients_run_without_the_package(addresses, photo, tmp_path):
    """The machine of a client has no op library."""
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
