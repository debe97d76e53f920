"""Damaged and missing libraries give an error that says what to do, and never a crash."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tf_boxconv
from tests.backend import BACKEND
from tests.new_process import run_python
from tf_boxconv.backends import library
from tf_boxconv.backends.library import (
    CORE_LIBRARY,
    FOLDER,
    LIBRARY_VARIABLE,
    LibraryUnavailable,
    check_library,
    own_op_library,
    tensorflow_version,
    xla_library,
)

PACKAGE = Path(tf_boxconv.__file__).parent
# The libraries that the package loads when it is imported.
LIBRARIES = [CORE_LIBRARY]
if BACKEND == "tensorflow":
    # TensorFlow loads the core library only for XLA.
    LIBRARIES = [own_op_library(), *([xla_library(), CORE_LIBRARY] * xla_library().exists())]
LIBRARIES = [str(path.relative_to(FOLDER)) for path in LIBRARIES]
IMPORT_AND_RUN = (
    "import numpy as np, tf_boxconv\n"
    "tf_boxconv.box_conv2d(np.ones([1, 4, 4, 1], 'float32'), [[[-1.5, -1.5, 1.5, 1.5]]])\n"
    "print('RAN')"
)


@pytest.fixture
def lib(tmp_path) -> Path:
    """The folder `lib` of a copy of the package."""
    shutil.copytree(PACKAGE, tmp_path / "tf_boxconv", ignore=shutil.ignore_patterns("*.pyc"))
    return tmp_path / "tf_boxconv" / "lib"


def run(lib: Path, code: str = IMPORT_AND_RUN, **environment):
    inherited = {k: v for k, v in os.environ.items() if k != LIBRARY_VARIABLE}
    env = {**inherited, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return run_python(code, cwd=lib.parents[1], path=lib.parents[1], env={**env, **environment})


def truncate(library: Path, share: float) -> None:
    size = library.stat().st_size
    os.truncate(library, min(int(size * share), size - 1))


def mark_for_other_machine(library: Path) -> None:
    """Changes the processor that bytes 18 and 19 of the header name."""
    data = bytearray(library.read_bytes())
    data[18:20] = (243).to_bytes(2, sys.byteorder)  # RISC-V
    library.write_bytes(data)


def replace_by_directory(library: Path) -> None:
    library.unlink()
    library.mkdir()


DAMAGES = {
    "one byte short": (lambda library: truncate(library, 1), "is truncated"),
    "half": (lambda library: truncate(library, 0.5), "is truncated"),
    "a thousandth": (lambda library: truncate(library, 0.001), "is truncated"),
    "empty": (lambda library: truncate(library, 0), "is not a shared library"),
    "text": (lambda library: library.write_text("no library"), "is not a shared library"),
    "other machine": (mark_for_other_machine, "cannot be loaded"),
    "directory": (replace_by_directory, "cannot be read: Is a directory"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_check_library_finds_damage(lib, damage):
    """The check reads the file before the loader sees it, so it can run in this process."""
    if damage == "other machine":
        pytest.skip("only the loader finds this")
    damage_file, sentence = DAMAGES[damage]
    check_library(lib / LIBRARIES[0])
    damage_file(lib / LIBRARIES[0])
    with pytest.raises(LibraryUnavailable, match=f"{LIBRARIES[0]} {sentence}"):
        check_library(lib / LIBRARIES[0])


@pytest.mark.parametrize(
    ("name", "damage"), [*((name, "half") for name in LIBRARIES), (LIBRARIES[0], "other machine")]
)
def test_importing_the_package_with_a_damaged_library(lib, name, damage):
    damage_file, sentence = DAMAGES[damage]
    damage_file(lib / name)
    done = run(lib)
    if BACKEND == "tensorflow":
        assert done.returncode == 1, (done.returncode, done.stderr[-2000:])
        message = done.stderr[done.stderr.rindex("LibraryUnavailable") :]
    else:
        # Other backends warn and run the portable path.
        assert done.returncode == 0 and "RAN" in done.stdout, done.stderr[-2000:]
        message = done.stderr
    assert name in message and sentence in message
    assert "Build it again: run `pip install" in message


def test_a_damaged_library_that_the_variable_names(lib):
    """Its folder has no `build_info.json`."""
    if BACKEND != "tensorflow":
        pytest.skip("only TensorFlow loads the op library")
    other = lib.parents[1] / "other" / "ops.so"
    other.parent.mkdir()
    shutil.copy(lib / LIBRARIES[0], other)
    truncate(other, 0.5)
    done = run(lib, **{LIBRARY_VARIABLE: str(other)})
    assert done.returncode == 1
    message = done.stderr[done.stderr.rindex("LibraryUnavailable") :]
    assert "ops.so is truncated" in message and "Unset TF_BOXCONV_LIBRARY" in message


@pytest.mark.parametrize(
    "text", [None, "", '{"tensorflow": "2.', "[]", "3", '{"tensorflow": 3, "cuda": []}', "\xff"]
)
def test_a_damaged_build_info_gives_none_for_every_key(tmp_path, monkeypatch, text):
    (tmp_path / "ops.so").touch()
    monkeypatch.setattr(library, "op_library", lambda: tmp_path / "ops.so")
    if text is not None:
        (tmp_path / "build_info.json").write_text(text, encoding="latin-1")
    names = ("tensorflow", "jax", "torch", "xla_ffi", "cuda")
    assert tf_boxconv.build_info() == dict.fromkeys(names)


def test_libraries_for_other_versions_of_tensorflow(lib):
    """A wheel has libraries for several versions. Other backends than TensorFlow need none."""
    if BACKEND == "tensorflow":
        shutil.copytree(lib / own_op_library().parent.name, lib / "tensorflow_1.9")
        shutil.copytree(lib / "tensorflow_1.9", lib / "tensorflow_1.10")
        for folder in lib.glob("tensorflow_2.*"):
            shutil.rmtree(folder)
    done = run(lib)
    if BACKEND != "tensorflow":
        assert done.returncode == 0 and "RAN" in done.stdout, done.stderr[-2000:]
        return
    assert done.returncode == 1
    message = done.stderr[done.stderr.rindex("LibraryUnavailable") :]
    version = tensorflow_version()
    assert f"libraries for TensorFlow 1.9, 1.10, but this is TensorFlow {version}." in message
    assert "Install one of these versions" in message
    assert "build tf_boxconv for this version: run `pip install --force-reinstall" in message


@pytest.mark.parametrize(
    ("version", "folder"),
    [
        ("2.21.0", "tensorflow_2.21"),
        ("2.9.1", "tensorflow_2.9"),
        ("2.22.0rc1", "tensorflow_2.22"),
        ("2.23.0-dev20260101", "tensorflow_2.23"),
        ("unknown", "tensorflow_"),
        (None, "tensorflow_"),
    ],
)
def test_the_folder_of_a_version_of_tensorflow(monkeypatch, version, folder):
    monkeypatch.setattr(library, "tensorflow_version", lambda: version)
    assert own_op_library.__wrapped__() == FOLDER / folder / "libtf_boxconv_ops.so"


def test_a_tensorflow_that_python_must_not_import_has_no_version(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    assert tensorflow_version() is None


def test_the_version_of_tensorflow_is_found_without_importing_it(lib):
    code = (
        f"import sys, types, pathlib\n{SKIP_PACKAGE_INIT}\n"
        "from tf_boxconv.backends.library import tensorflow_version\n"
        "print(tensorflow_version(), 'tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=lib.parents[1], capture_output=True, text=True
    )
    assert done.stdout.split() == [str(tensorflow_version()), "False"], done.stderr


# `remedy.py` says how to rebuild the libraries. pip records where a package was installed from.


def remedy(folder: Path, origin: dict | None) -> str:
    """Returns the advice of a copy of the package in `folder`, installed from `origin`."""
    shutil.copytree(PACKAGE, folder / "tf_boxconv", ignore=shutil.ignore_patterns("*.pyc", "lib"))
    metadata = folder / "tf_boxconv-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tf_boxconv\nVersion: 1\n")
    if origin is not None:
        (metadata / "direct_url.json").write_text(json.dumps(origin))
    code = (
        f"import sys, types, pathlib\n{SKIP_PACKAGE_INIT}\n"
        "import tf_boxconv.backends.remedy as r; print('SAYS', r.build_again())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.split("SAYS ")[1]


# Makes modules of the package importable without its `__init__.py`, which needs the libraries.
SKIP_PACKAGE_INIT = """
for name in ("tf_boxconv", "tf_boxconv.backends"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [str(pathlib.Path(*name.split(".")).resolve())]
sys.path.insert(0, str(pathlib.Path().resolve()))
""".strip()


def test_the_remedy_names_the_sources_that_pip_recorded(tmp_path):
    sources = tmp_path / "my sources"
    sources.mkdir()
    folders = iter([tmp_path / str(i) for i in range(9)])
    command = "pip install --force-reinstall --no-deps --no-cache-dir"
    local = {"url": sources.as_uri(), "dir_info": {}}
    assert f"`{command} '{sources}'`" in remedy(next(folders), local)
    vcs = {"vcs": "git", "commit_id": "0f3a"}
    said = remedy(next(folders), {"url": "https://host/boxes.git", "vcs_info": vcs})
    assert f"`{command} git+https://host/boxes.git@0f3a`" in said
    in_checkout = f"`{command} .` in a checkout"
    for origin in (
        None,
        {"url": "file:///no/such/folder", "dir_info": {}},
        {"url": "https://host/tf_boxconv-1-cp311-linux.whl", "archive_info": {}},
        {"url": "https://host/boxes.git", "vcs_info": {}},
    ):
        assert in_checkout in remedy(next(folders), origin)


def test_the_remedy_in_a_checkout_names_the_checkout(tmp_path):
    (tmp_path / "custom_ops").mkdir()
    (tmp_path / "custom_ops/CMakeLists.txt").touch()
    assert f"--no-cache-dir -e {tmp_path}`" in remedy(tmp_path, None)
