"""The patch of the server's sources and the server's configuration files."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from examples.serving import patch_model_server

REPOSITORY = Path(patch_model_server.__file__).resolve().parents[2]

# The form of the list in TensorFlow Serving's sources.
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


def test_ops_go_into_the_servers_list(tmp_path, capsys):
    folder = tmp_path / "tensorflow_serving" / "model_servers"
    folder.mkdir(parents=True)
    (folder / "BUILD").write_text(BUILD)
    (tmp_path / "WORKSPACE").write_text('workspace(name = "tf_serving")\n')
    for _ in range(2):  # The second time changes nothing.
        patch_model_server.main([str(tmp_path), "/tf_boxconv"])
        expected = BUILD.replace(
            '    "@org_tensorflow_text//tensorflow_text:ops_lib",\n',
            '    "@org_tensorflow_text//tensorflow_text:ops_lib",\n'
            '    "@tf_boxconv//:box_conv_ops",\n',
        )
        assert (folder / "BUILD").read_text() == expected
        workspace = (tmp_path / "WORKSPACE").read_text()
        assert workspace.count("local_repository(") == 1 and 'path = "/tf_boxconv"' in workspace


def test_an_unknown_source_tree_is_refused():
    with pytest.raises(ValueError, match="no list SUPPORTED_TENSORFLOW_OPS"):
        patch_model_server.add_op_library("cc_library()\n")


def test_command_errors_are_one_line(tmp_path, capsys):
    """And the tree is as it was."""
    folder = tmp_path / "tree" / "tensorflow_serving" / "model_servers"
    folder.mkdir(parents=True)
    tree = str(tmp_path / "tree")
    for prepare, words in [
        (lambda: None, "BUILD"),
        (lambda: (folder / "BUILD").write_text("cc_library()\n"), "no list"),
        (lambda: (folder / "BUILD").write_text(BUILD), "WORKSPACE"),
    ]:
        prepare()
        before = [path.read_text() for path in folder.iterdir()]
        with pytest.raises(SystemExit) as raised:
            patch_model_server.main([tree, "/tf_boxconv"])
        message = str(raised.value.code)
        assert message.startswith("error: ") and words in message and "\n" not in message
        assert [path.read_text() for path in folder.iterdir()] == before
    for arguments in ([], [tree], [tree, "a", "b"], ["--wrong"]):
        with pytest.raises(SystemExit) as raised:
            patch_model_server.main(arguments)
        assert raised.value.code == 2 and "usage: " in capsys.readouterr().err


def test_needs_nothing_but_python(tmp_path):
    """It runs in the image that builds the server, as a file."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", patch_model_server.__file__, "--help"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0 and "TREE" in done.stdout and not done.stderr


def test_label_and_copied_files_exist():
    target = patch_model_server.LABEL.rpartition(":")[2]
    assert f'name = "{target}"' in (REPOSITORY / "BUILD").read_text()
    dockerfile = (REPOSITORY / "examples" / "serving" / "Dockerfile").read_text()
    for sources in re.findall(r"^COPY (?!--from)(.*) \S+$", dockerfile, re.M):
        for source in sources.split():
            assert (REPOSITORY / source).exists(), source


def test_model_config_is_one():
    config_pb2 = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    from google.protobuf import text_format

    path = REPOSITORY / "examples" / "serving" / "config" / "models.config"
    config = text_format.Parse(path.read_text(), config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == ("pose", "/models/pose")
