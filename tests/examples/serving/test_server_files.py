"""The patch to the server's sources, and the server's configuration files."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from examples.serving import patch_model_server

REPOSITORY = Path(patch_model_server.__file__).resolve().parents[2]

# The list as TensorFlow Serving's sources have it.
BUILD = """
load("//tensorflow_serving:serving.bzl", "if_v2")

OTHER = [
    "//a",
]

SUPPORTED_TENSORFLOW_OPS = if_v2([]) + if_not_v2([
    "@org_tensorflow//tensorflow/contrib:contrib_kernels",
]) + [
    "@org_tensorflow_text//tensorflow_text:ops_lib",
]

cc_library(
    name = "server_init",
    deps = [
        ":platform_config_util",
    ] + SUPPORTED_TENSORFLOW_OPS,
)
"""


def _checkout(folder):
    folder.mkdir()
    (folder / "BUILD").touch()
    return folder


def test_the_op_library_is_added_to_the_servers_list_once(tmp_path, monkeypatch):
    folder = tmp_path / "tensorflow_serving" / "model_servers"
    folder.mkdir(parents=True)
    (folder / "BUILD").write_text(BUILD)
    (tmp_path / "WORKSPACE").write_text('workspace(name = "tf_serving")\n')
    checkout, other = _checkout(tmp_path / "tf_boxconv"), _checkout(tmp_path / "other")
    monkeypatch.chdir(checkout)
    for path in (str(checkout), "."):  # the second call changes nothing
        patch_model_server.main([str(tmp_path), path])
        expected = BUILD.replace(
            '    "@org_tensorflow_text//tensorflow_text:ops_lib",\n',
            '    "@org_tensorflow_text//tensorflow_text:ops_lib",\n'
            '    "@tf_boxconv//:box_conv_ops",\n',
        )
        assert (folder / "BUILD").read_text() == expected
        workspace = (tmp_path / "WORKSPACE").read_text()
        assert workspace.count("local_repository(") == 1 and f'path = "{checkout}"' in workspace
    with pytest.raises(SystemExit, match="another repository named tf_boxconv already"):
        patch_model_server.main([str(tmp_path), str(other)])


def test_a_source_tree_without_the_list_is_refused():
    with pytest.raises(ValueError, match="no list SUPPORTED_TENSORFLOW_OPS"):
        patch_model_server.add_op_library("cc_library()\n")


def test_errors_of_the_command_are_one_line_and_change_no_file(tmp_path, capsys):
    folder = tmp_path / "tree" / "tensorflow_serving" / "model_servers"
    folder.mkdir(parents=True)
    tree = str(tmp_path / "tree")
    (tmp_path / "checkout").mkdir()
    checkout = str(tmp_path / "checkout")
    for prepare, words in [
        (lambda: None, "is no checkout of tf_boxconv"),
        (lambda: (tmp_path / "checkout" / "BUILD").touch(), "No such file"),
        (lambda: (folder / "BUILD").write_text("cc_library()\n"), "no list"),
        (lambda: (folder / "BUILD").write_text(BUILD), "WORKSPACE"),
    ]:
        prepare()
        before = [path.read_text() for path in folder.iterdir()]
        with pytest.raises(SystemExit) as raised:
            patch_model_server.main([tree, checkout])
        message = str(raised.value.code)
        assert message.startswith("error: ") and words in message and "\n" not in message
        assert [path.read_text() for path in folder.iterdir()] == before
    for arguments in ([], [tree], [tree, "a", "b"], ["--wrong"]):
        with pytest.raises(SystemExit) as raised:
            patch_model_server.main(arguments)
        assert raised.value.code == 2 and "usage: " in capsys.readouterr().err


def test_the_patch_needs_only_the_standard_library(tmp_path):
    """It runs as a file in the image that builds the server."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", patch_model_server.__file__, "--help"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0 and "TREE" in done.stdout and not done.stderr


def test_the_label_and_the_files_that_the_dockerfile_copies_exist():
    target = patch_model_server.LABEL.rpartition(":")[2]
    assert f'name = "{target}"' in (REPOSITORY / "BUILD").read_text()
    dockerfile = (REPOSITORY / "examples" / "serving" / "Dockerfile").read_text()
    for sources in re.findall(r"^COPY (?!--from)(.*) \S+$", dockerfile, re.M):
        for source in sources.split():
            assert (REPOSITORY / source).exists(), source


def test_the_model_configuration_can_be_parsed():
    config_pb2 = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    from google.protobuf import text_format

    path = REPOSITORY / "examples" / "serving" / "config" / "models.config"
    config = text_format.Parse(path.read_text(), config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == ("pose", "/models/pose")
