"""Files saved under one backend load under the others, and each backend works alone."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import tolerances

ROOT = Path(__file__).resolve().parents[2]
BACKENDS = ("tensorflow", "jax", "torch")
INSTALLED = [name for name in BACKENDS if importlib.util.find_spec(name)]

# Each process imports a framework, which takes long on a busy machine.
pytestmark = pytest.mark.timeout(900)


def run(backend: str, action: str, folder: Path, setup: str = "") -> None:
    """Runs `setup`, Python code, and then an action of `across_backends.py` under a backend."""
    code = (
        f"{setup}\nimport runpy\n"
        "runpy.run_module('tests.layers.across_backends', run_name='__main__')"
    )
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", code, action, folder],
        env={**os.environ, **quiet, "KERAS_BACKEND": backend},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with the models that each installed backend saved, and with outputs.

    Every saved model was loaded under each backend; the outputs of all are in the folder.
    """
    folder = tmp_path_factory.mktemp("models")
    for action in ("save", "load"):
        for backend in INSTALLED:
            run(backend, action, folder)
    return folder


def skip_unless_installed(*backends: str) -> None:
    for backend in backends:
        if backend not in INSTALLED:
            pytest.skip(f"{backend} is not installed")


@pytest.mark.parametrize("name", ["fixed", "dynamic"])
@pytest.mark.parametrize("saved_by", BACKENDS)
@pytest.mark.parametrize("loaded_by", BACKENDS)
def test_a_file_gives_the_same_outputs_under_every_backend(name, saved_by, loaded_by, folder):
    skip_unless_installed(saved_by, loaded_by)
    with (
        np.load(folder / f"{name}-{saved_by}.npz") as wanted,
        np.load(folder / f"{name}-{saved_by}-in-{loaded_by}.npz") as got,
    ):
        assert wanted.files == got.files and wanted.files
        for key in wanted.files:
            largest = np.max(np.abs(wanted[key]))
            assert largest > 0
            np.testing.assert_allclose(
                got[key], wanted[key], rtol=0, atol=tolerances.VALUES["float32"]["atol"] * largest
            )


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_other_framework_is_imported(backend, tmp_path):
    """No framework is imported except the backend and those that Keras imports itself.

    Under JAX and PyTorch, importing TensorFlow fails, as if it were not installed.
    """
    skip_unless_installed(backend)
    hide_tensorflow = (
        "" if backend == "tensorflow" else "import sys; sys.modules['tensorflow'] = None"
    )
    run(backend, "use_alone", tmp_path, setup=hide_tensorflow)
