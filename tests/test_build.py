"""A build that fails says what to do in its last line and leaves no incomplete files.

CMake and the framework are fakes that the tests write, so every build takes about a second.
"""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(os.name != "posix", reason="uses shell scripts")


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory) -> Path:
    """An interpreter with setuptools and no framework."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder / "venv", symlinks=True)
    (folder / "modules").mkdir()
    for name in ("setuptools", "_distutils_hack"):
        package = pytest.importorskip(name)
        (folder / "modules" / name).symlink_to(Path(package.__file__).parent)
    return folder


@pytest.fixture
def checkout(tmp_path, bare_python):
    """A folder with the files that a build needs. Its `bin` holds all tools and is the PATH."""
    for name in ("setup.py", "custom_ops/CMakeLists.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "tf_boxconv").mkdir()
    script(tmp_path / "bin/c++", "exit 0")
    script(tmp_path / "bin/ninja", "exit 0")
    script(tmp_path / "bin/cmake", "exit 0")
    (tmp_path / "frameworks/torch").mkdir(parents=True)
    (tmp_path / "frameworks/torch/__init__.py").write_text(
        "import types\n__version__ = '2.9'\nversion = types.SimpleNamespace(cuda='13.0')\n"
    )
    return tmp_path


def failed_build(checkout, bare_python, frameworks=True, **environment) -> list[str]:
    """Runs a build that must fail; returns the lines that it prints."""
    done = run_build(checkout, bare_python, frameworks, **environment)
    assert done.returncode != 0
    assert "Traceback" not in done.stdout
    return done.stdout.strip().splitlines()


def run_build(checkout, bare_python, frameworks=True, **environment):
    folders = [bare_python / "modules", *([checkout / "frameworks"] if frameworks else [])]
    return subprocess.run(
        [bare_python / "venv/bin/python", "setup.py", "-q", "build_ext", "--inplace"],
        cwd=checkout,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={
            "PATH": str(checkout / "bin"),
            "PYTHONPATH": os.pathsep.join(map(str, folders)),
            "PYTHONWARNINGS": "ignore",
            **environment,
        },
    )


def assert_last_line_says(lines, *parts):
    assert lines[-1].startswith("tf_boxconv was not built: "), lines
    for part in parts:
        assert part in lines[-1]


@pytest.mark.parametrize(
    ("compiler", "parts"),
    [
        ("/bin/false", ("/bin/false cannot compile C++17", "apt install g++", "CXX")),
        ("/no/such/c++", ("/no/such/c++ cannot be run", "apt install g++")),
        ("sh -c 'echo gcc: error: -std=c++17 >&2; exit 1'", ("gcc: error: -std=c++17",)),
    ],
)
def test_a_compiler_that_does_not_work(checkout, bare_python, compiler, parts):
    assert_last_line_says(failed_build(checkout, bare_python, CXX=compiler), *parts)


@pytest.mark.skipif(not shutil.which("g++"), reason="needs g++")
def test_a_compiler_without_cpp17(checkout, bare_python):
    old = script(checkout / "bin/old", f'exec {shutil.which("g++")} "$@" -std=c++14')
    lines = failed_build(
        checkout, bare_python, CXX=str(old), PATH=f"{checkout / 'bin'}:/usr/bin:/bin"
    )
    assert_last_line_says(lines, "cannot compile C++17")


def test_no_compiler(checkout, bare_python):
    (checkout / "bin/c++").unlink()
    assert_last_line_says(
        failed_build(checkout, bare_python), "c++, g++, clang++", "apt install g++"
    )


@pytest.mark.parametrize("tool", ["cmake", "ninja"])
def test_no_build_tool(checkout, bare_python, tool):
    (checkout / "bin" / tool).unlink()
    assert_last_line_says(
        failed_build(checkout, bare_python), f"{tool} is not on the PATH", "pip install cmake"
    )


def test_no_framework(checkout, bare_python):
    lines = failed_build(checkout, bare_python, frameworks=False)
    assert_last_line_says(lines, "found none of TensorFlow, JAX and PyTorch", "pip install torch")


@pytest.mark.parametrize("choice", ["ON", "yes"])
def test_cuda_that_is_not_installed(checkout, bare_python, choice):
    lines = failed_build(checkout, bare_python, BOXCONV_CUDA=choice)
    assert_last_line_says(lines, "BOXCONV_CUDA", "nvcc" if choice == "ON" else "Received: yes")


@pytest.mark.parametrize("step", ["configure", "compile"])
@pytest.mark.parametrize(
    ("output", "parts"),
    [
        ("/tmp/x.s: No space left on device", ("disk is full", "TMPDIR")),
        ("c++: fatal error: Killed signal terminated program cc1plus", ("memory", "LEVEL=1")),
        ("BOXCONV_CUDA is ON but no nvcc works", ("nvcc works", "CUDACXX")),
        ("anything else", ("failed; the first error is in the output above",)),
    ],
)
def test_a_cmake_that_fails(checkout, bare_python, step, output, parts):
    compiling = '[ "$1" = --build ]'
    fails = compiling if step == "compile" else f"! {compiling}"
    script(checkout / "bin/cmake", f"if {fails}; then echo '{output}'; echo more; exit 1; fi")
    lines = failed_build(checkout, bare_python)
    assert output in lines
    assert_last_line_says(lines, *parts)
    assert not (checkout / "tf_boxconv/lib").exists()


# A CMake whose build step writes the libraries to `$library`, their output folder.
BUILD_FILES = """
for argument; do
  case "$argument" in -DCMAKE_LIBRARY_OUTPUT_DIRECTORY=*) echo "${argument#*=}" > library;; esac
done
read library < library
if [ "$1" = --build ]; then
"""
LIBRARIES = ("libtf_boxconv_core.so", "ops/libtf_boxconv_ops.so", "ops/libtf_boxconv_xla.so")


def cmake_that_builds(checkout, text, broken=()):
    lines = ["/bin/mkdir -p $library/ops"]
    lines += [f"echo {text} > $library/{name}" for name in LIBRARIES if name not in broken]
    # Copying a dangling link fails, as copying to a full disk would.
    lines += [f"/bin/ln -s /no/such/file $library/{name}" for name in broken]
    script(checkout / "bin/cmake", BUILD_FILES + "\n".join(lines) + "\nfi")


def files(folder: Path) -> dict[str, str]:
    """The text of each file in a folder, by its path in the folder."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in paths}


@pytest.mark.parametrize("broken", LIBRARIES)
def test_libraries_are_replaced_all_or_none(checkout, bare_python, broken):
    lib = checkout / "tf_boxconv/lib"
    cmake_that_builds(checkout, "first")
    done = run_build(checkout, bare_python)
    assert done.returncode == 0, done.stdout
    assert sorted(files(lib)) == ["build_info.json", *LIBRARIES]
    before = files(lib)
    cmake_that_builds(checkout, "second", broken=[broken])
    assert_last_line_says(failed_build(checkout, bare_python), broken)
    assert files(lib) == before
    assert sorted(path.name for path in lib.parent.iterdir()) == ["lib"]
    cmake_that_builds(checkout, "third")
    assert run_build(checkout, bare_python).returncode == 0
    assert (lib / broken).read_text() == "third\n"


# A package with what setup.py asks TensorFlow for.
TENSORFLOW = """
import pathlib, types
__version__ = {version!r}
include = pathlib.Path(__file__).parent / "include"
sysconfig = types.SimpleNamespace(
    get_include=lambda: str(include), get_compile_flags=lambda: [f"-I{{include}}"],
    get_link_flags=lambda: [f"-L{version}"],
)
test = types.SimpleNamespace(is_built_with_cuda=lambda: False)
"""
C_API = """
#define XLA_FFI_API_MAJOR 0
#define XLA_FFI_API_MINOR {minor}
XLA_FFI_ThreadPool_NumThreads
"""


def python_with_tensorflow(folder: Path, version: str, ffi_minor: int | None) -> Path:
    """Makes a command that runs Python with a fake TensorFlow."""
    package = folder / "tensorflow"
    headers = package / "include/xla/ffi/api"
    headers.mkdir(parents=True)
    (package / "__init__.py").write_text(TENSORFLOW.format(version=version))
    if ffi_minor is not None:
        (headers / "c_api.h").write_text(C_API.format(minor=ffi_minor))
    return script(folder / "python", f'PYTHONPATH={folder} exec {sys.executable} -S "$@"')


def test_ops_for_several_versions_of_tensorflow(checkout, bare_python):
    """Each gets a folder and its own flags; core has the oldest usable interface of XLA."""
    versions = {"2.21.0": 2, "2.9.1": None, "2.20.0": 1}
    pythons = [
        python_with_tensorflow(checkout / version, version, minor)
        for version, minor in versions.items()
    ]
    log = checkout / "options"
    script(checkout / "bin/cmake", f'[ "$1" = --build ] || echo "$@" >> {log}')
    done = run_build(checkout, bare_python, BOXCONV_PYTHONS=os.pathsep.join(map(str, pythons)))
    assert done.returncode == 0, done.stdout
    calls = log.read_text().splitlines()
    assert len(calls) == 3
    for call, version in zip(calls, versions, strict=True):
        minor = version.rsplit(".", 1)[0]
        assert f"-DBOXCONV_FFI_INCLUDE={checkout}/2.20.0/tensorflow/include " in call
        assert f"-DBOXCONV_TF_LINK_FLAGS=-L{version} " in call
        assert f"/tf_boxconv/lib/tensorflow_{minor} " in call
        assert f"-DBOXCONV_XLA={'OFF' if minor == '2.9' else 'ON'}" in call
        info = json.loads(
            (checkout / f"tf_boxconv/lib/tensorflow_{minor}/build_info.json").read_text()
        )
        assert info["tensorflow"] == version and info["xla_ffi"] == "0.1"
    info = json.loads((checkout / "tf_boxconv/lib/build_info.json").read_text())
    assert info["tensorflow"] is None and info["torch"] == "2.9"


def test_an_interpreter_without_tensorflow(checkout, bare_python):
    python = bare_python / "venv/bin/python"
    lines = failed_build(checkout, bare_python, BOXCONV_PYTHONS=f"{python}")
    assert_last_line_says(lines, f"BOXCONV_PYTHONS names {python}, which has no TensorFlow")
    lines = failed_build(checkout, bare_python, BOXCONV_PYTHONS="/no/python")
    assert_last_line_says(lines, "BOXCONV_PYTHONS names /no/python", "No such file")


def test_pip_shows_the_error_last(checkout):
    """After the error come only pip's own notes."""
    shutil.copy(ROOT / "pyproject.toml", checkout)
    shutil.copy(ROOT / "README.md", checkout)
    shutil.copy(ROOT / "LICENSE", checkout)
    shutil.copy(ROOT / "THIRD_PARTY_NOTICES.md", checkout)
    shutil.copy(ROOT / "tf_boxconv/version.py", checkout / "tf_boxconv")
    (checkout / "tf_boxconv/__init__.py").touch()
    command = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "."]
    done = subprocess.run(
        command,
        cwd=checkout,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "CXX": "/bin/false"},
    )
    assert done.returncode != 0 and "Traceback" not in done.stdout
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert lines[lines.index("[end of output]") - 1].startswith("tf_boxconv was not built: ")
