"""TensorFlow's op library: finding it, errors in loading it, and its use without the package."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import tf_boxconv
from tests import new_process
from tests.backend import tensorflow_only
from tf_boxconv.backends.library import LIBRARY_VARIABLE, own_op_library

tf = pytest.importorskip("tensorflow")
pytestmark = tensorflow_only

PACKAGE = Path(tf_boxconv.__file__).parent
LIBRARY_NAME = own_op_library().name


def run(code: str, path: Path | None = None, **environment: str):
    # Without the variable a process loads the library beside its package.
    inherited = {k: v for k, v in os.environ.items() if k != LIBRARY_VARIABLE}
    env = {**inherited, "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    return new_process.run_python(code, cwd="/", path=path, env=env)


def copy_package(folder: Path) -> Path:
    """Copies the package and the op library of this process; returns the folder of the copy."""
    shutil.copytree(PACKAGE, folder / "tf_boxconv", ignore=shutil.ignore_patterns("*.pyc", "lib"))
    library = folder / "tf_boxconv" / "lib" / own_op_library().parent.name
    library.mkdir(parents=True)
    shutil.copy(tf_boxconv.library_path(), library / LIBRARY_NAME)
    return library


def test_the_error_about_a_missing_library_says_what_to_run(tmp_path):
    library = copy_package(tmp_path)
    (library / LIBRARY_NAME).unlink()
    done = run("import tf_boxconv", path=tmp_path)
    assert done.returncode != 0
    message = done.stderr.strip().splitlines()[-1]
    assert "LibraryUnavailable: tf_boxconv's compiled library is missing" in message
    assert "pip install --force-reinstall" in message


@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
def test_the_error_about_a_library_for_another_tensorflow_says_what_to_run(tmp_path):
    library = copy_package(tmp_path)
    # A library built for another TensorFlow needs a symbol that this one lacks.
    source = (
        'extern "C" void absl_of_another_version(); void (*needed)() = absl_of_another_version;'
    )
    (tmp_path / "other.cc").write_text(source)
    target = library / LIBRARY_NAME
    command = ["c++", "-shared", "-fPIC", "-Wl,-z,now", "-o", target, tmp_path / "other.cc"]
    subprocess.run(command, check=True)
    (library / "build_info.json").write_text(json.dumps({"tensorflow": "2.19.1"}))
    done = run("import tf_boxconv", path=tmp_path)
    assert done.returncode != 0
    message = done.stderr[done.stderr.rindex("LibraryUnavailable") :]
    assert "It was built for TensorFlow 2.19.1; this is TensorFlow" in message
    assert "pip install --force-reinstall" in message and "absl_of_another_version" in message


def test_loading_a_second_copy_is_refused(tmp_path):
    library = copy_package(tmp_path)
    code = (
        "import tensorflow as tf\n"
        f"tf.load_op_library({str(library / 'libtf_boxconv_ops.so')!r})\n"
        f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r})\n"
        "import tf_boxconv"
    )
    done = run(code, **{LIBRARY_VARIABLE: tf_boxconv.library_path()})
    assert done.returncode != 0
    assert "already registered by another copy" in done.stderr.strip().splitlines()[-1]


def test_the_variable_may_name_another_library(tmp_path):
    library = copy_package(tmp_path) / LIBRARY_NAME
    other = library.rename(tmp_path / "other.so")
    code = "import tf_boxconv; print(tf_boxconv.library_path())"
    done = run(code, path=tmp_path, **{LIBRARY_VARIABLE: str(other)})
    assert done.stdout.strip() == str(other), done.stderr


def test_a_variable_that_names_no_file_is_refused():
    done = run("import tf_boxconv", PACKAGE.parent, **{LIBRARY_VARIABLE: "/no/such.so"})
    assert done.returncode != 0
    message = done.stderr.strip().splitlines()[-1]
    assert "LibraryUnavailable: TF_BOXCONV_LIBRARY names /no/such.so, which does not" in message
    assert "Unset TF_BOXCONV_LIBRARY" in message


def test_a_variable_that_names_another_kind_of_file_is_refused(tmp_path):
    (tmp_path / "text.so").write_text("not a library")
    variable = {LIBRARY_VARIABLE: str(tmp_path / "text.so")}
    done = run("import tf_boxconv", PACKAGE.parent, **variable)
    assert done.returncode != 0
    message = done.stderr[done.stderr.rindex("LibraryUnavailable") :]
    assert "text.so is not a shared library" in message and "Unset TF_BOXCONV_LIBRARY" in message


def test_the_library_runs_its_op_without_the_package():
    code = (
        "import sys, tensorflow as tf\n"
        f"ops = tf.load_op_library({tf_boxconv.library_path()!r})\n"
        "out = ops.box_conv_box_conv2d(input=tf.ones([1, 4, 4, 1]), "
        "boxes=tf.constant([[[-.5, -.5, .5, .5]]]))\n"
        "assert 'tf_boxconv' not in sys.modules\n"
        "print(float(tf.reduce_sum(out)))"
    )
    done = run(code)
    assert done.stdout.strip() == "16.0", done.stderr


def test_build_info_names_the_tensorflow_version_and_cuda():
    info = tf_boxconv.build_info()
    # A wheel is built with another patch version.
    assert info["tensorflow"].split(".")[:2] == tf.__version__.split(".")[:2]
    library = Path(tf_boxconv.library_path()).read_bytes()
    assert (info["cuda"] is not None) == (b"CudaDevice" in library)


def test_the_baseline_instruction_set_equals_the_reference():
    code = (
        "import numpy as np, tensorflow as tf, tf_boxconv\n"
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from tests.boxes import boxes_around_pixel\n"
        "from tests.images import images\n"
        "from tests import reference, tolerances\n"
        "x = images((2, 19, 23, 5), dtype='float64')\n"
        "boxes = boxes_around_pixel(5, 3, reach=7)\n"
        "np.testing.assert_allclose(tf_boxconv.box_conv2d(x, boxes), "
        "reference.box_conv2d(x, boxes), **tolerances.VALUES['float64'])"
    )
    environment = {LIBRARY_VARIABLE: tf_boxconv.library_path(), "TF_BOXCONV_ISA": "baseline"}
    done = run(code, path=PACKAGE.parent, **environment)
    assert done.returncode == 0, done.stderr
