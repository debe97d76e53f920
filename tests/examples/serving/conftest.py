"""A small exported model, pictures for it, and the C++ programs that load it."""

import shutil

import pytest

from examples.pose.images.image_files import read_image
from examples.pose.inference.predictor import load_run
from examples.serving import export as serving_export
from examples.serving import native_loader, request_files
from tests.data_folder import DATA_DIR
from tests.examples.pose.tiny_run import write_tiny_run


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    return write_tiny_run(tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture(scope="session")
def predictor(run_folder):
    return load_run(run_folder)


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """A photograph if there is one, else a generated picture, and pictures of odd sizes."""
    generated = request_files.generated_pictures([(300, 200), (1, 1), (37, 200), (96, 96)])
    real = DATA_DIR / "lsp" / "images" / "im1001.jpg"
    return [read_image(real), *generated[1:]] if real.exists() else generated


@pytest.fixture(scope="session")
def version(predictor, tmp_path_factory):
    """The folder `models/pose/1` of an exported version, with its warm-up requests."""
    pytest.importorskip("tensorflow_serving.apis")
    models = tmp_path_factory.mktemp("models")
    return serving_export.export_version(predictor, models / "pose")


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    """The C++ programs, by the interface of TensorFlow that they use."""
    if shutil.which("c++") is None:
        pytest.skip("no C++ compiler")
    return native_loader.build(tmp_path_factory.mktemp("loader"))
