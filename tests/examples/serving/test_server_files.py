"""The patch of the server's sources and the server's configuration files."""

import re
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
        patch_model_server.main(str(tmp_path), "/tf_boxconv")
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
