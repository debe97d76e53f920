"""Builds the compiled libraries for the installed frameworks. Metadata is in pyproject.toml.

| installed | built in `tf_boxconv/lib` |
| --- | --- |
| TensorFlow | core with XLA handlers; in `tensorflow_2.21`, its ops and their XLA lowering |
| JAX alone | core with XLA handlers |
| PyTorch alone | core |

CMake runs the compilers. `pip install .` builds in an isolated environment that hides the installed
frameworks, so a new interpreter outside of it is started to find them. The ops can be built for
several versions of TensorFlow: see PYTHONS_VARIABLE.
"""

import dataclasses
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent

# Environment variable with Python interpreters, separated by colons: the ops are built for the
# TensorFlow of each, in place of that of this interpreter. `make wheel` sets it.
PYTHONS_VARIABLE = "BOXCONV_PYTHONS"

# Importing a framework prints to stdout on some machines, so the answer's line starts with ANSWER.
ASK = """
import importlib.util, json
def folders(package):
    spec = importlib.util.find_spec(package)
    return list(spec.submodule_search_locations or []) if spec else []
answer = {{}}
{question}
print("ANSWER" + json.dumps(answer))
"""
ASK_TENSORFLOW = """
import tensorflow as tf
answer.update({
    "version": tf.__version__,
    "has_cuda": tf.test.is_built_with_cuda(),
    "include": tf.sysconfig.get_include(),
    "compile": tf.sysconfig.get_compile_flags(),
    "link": tf.sysconfig.get_link_flags(),
})
"""
ASK_JAX = """
import jax
answer.update({
    "version": jax.__version__,
    "has_cuda": bool(folders("jax_cuda12_plugin") or folders("jax_cuda13_plugin")),
    "include": jax.ffi.include_dir(),
})
"""
ASK_TORCH = """
import torch
answer.update({"version": torch.__version__, "has_cuda": torch.version.cuda is not None})
"""


FAILED = "tf_boxconv was not built: "
GET_COMPILER = (
    "Install g++ 9 or newer (`apt install g++`, `dnf install gcc-c++`), or set CXX to a compiler."
)
NO_NVCC = (
    "BOXCONV_CUDA is ON but no nvcc works. Put it on the PATH, set CUDACXX, run `pip install "
    "nvidia-cuda-nvcc`, or set BOXCONV_CUDA=OFF for a build without GPU kernels."
)
# Advice for failures, by a pattern in the output of the build.
HELP = {
    "No space left on device": "the disk is full. Free some space, or set TMPDIR to another disk.",
    "BOXCONV_CUDA is ON but no nvcc works": NO_NVCC,
    "Killed signal|compiler: Killed": (
        "the compiler ran out of memory. Set CMAKE_BUILD_PARALLEL_LEVEL=1 to compile one file at a "
        "time."
    ),
}


@dataclasses.dataclass(frozen=True)
class Frameworks:
    """The installed frameworks: the answers to the ASK_* questions, or None if not installed."""

    tensorflows: list[dict]  # usually one or none; see PYTHONS_VARIABLE
    jax: dict | None
    torch: dict | None
    nvidia: list[str]  # folders of NVIDIA's CUDA packages from PyPI

    @property
    def has_cuda(self) -> bool:
        """Whether any of the frameworks supports CUDA."""
        found = (*self.tensorflows, self.jax, self.torch)
        return any(framework["has_cuda"] for framework in found if framework)

    @property
    def ffi_include(self) -> str:
        """The include folder of XLA's foreign function interface, or an empty string.

        The oldest headers of TensorFlow are preferred to others, and to JAX's: TensorFlow refuses
        handlers built for a newer interface than its own, but JAX accepts older ones.
        """
        usable = [t for t in self.tensorflows if ffi_version(t["include"])]
        if usable:
            return min((t["include"] for t in usable), key=ffi_version)
        return self.jax["include"] if self.jax else ""


def find_frameworks() -> Frameworks:
    """Finds the installed frameworks. Exits with an error if there are none."""
    tensorflows, tensorflow_error = find_tensorflows()
    jax, jax_error = ask(ASK_JAX)
    torch, torch_error = ask(ASK_TORCH)
    states = [
        *(f"TensorFlow {tensorflow['version']}" for tensorflow in tensorflows),
        *([] if tensorflows else [f"TensorFlow not found ({tensorflow_error})"]),
        f"JAX {jax['version']}" if jax else f"JAX not found ({jax_error})",
        f"PyTorch {torch['version']}" if torch else f"PyTorch not found ({torch_error})",
    ]
    for state in states:
        print(f"tf_boxconv: {state}")
    if not (tensorflows or jax or torch):
        raise SystemExit(
            f"{FAILED}it compiles for the installed frameworks and found none of TensorFlow, "
            "JAX and PyTorch. First run `pip install 'tensorflow>=2.16,<2.22'` (or "
            "tensorflow-cpu), `pip install jax` or `pip install torch`. If your installer builds "
            "in an environment of its own (uv, build), pass --no-build-isolation with setuptools, "
            "cmake and ninja installed."
        )
    nvidia, _ = ask('answer["folders"] = folders("nvidia")')
    return Frameworks(tensorflows, jax, torch, nvidia["folders"] if nvidia else [])


def find_tensorflows() -> tuple[list[dict], str]:
    """Returns the answers about TensorFlow, and the last line of an error.

    Exits if an interpreter of PYTHONS_VARIABLE has no TensorFlow.
    """
    pythons = os.environ.get(PYTHONS_VARIABLE)
    if pythons is None:
        answer, error = ask(ASK_TENSORFLOW)
        return ([answer] if answer else []), error
    answers = []
    for python in pythons.split(os.pathsep):
        answer, error = ask(ASK_TENSORFLOW, python)
        if answer is None:
            raise SystemExit(
                f"{FAILED}{PYTHONS_VARIABLE} names {python}, which has no TensorFlow: {error}"
            )
        answers.append(answer)
    return answers, ""


def ask(question: str, python: str = sys.executable) -> tuple[dict | None, str]:
    """Runs a question in a new interpreter; returns the answer, or None and the last error line."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    isolated = {k: v for k, v in environment.items() if k != "PYTHONPATH"}
    complaint = ""
    # The second attempt keeps PYTHONPATH, which may contain a framework if pip runs with
    # --no-build-isolation.
    for env in (isolated, environment):
        code = ASK.format(question=question)
        try:
            done = subprocess.run([python, "-c", code], env=env, capture_output=True, text=True)
        except OSError as error:
            return None, str(error)
        complaint = complaint or "".join(done.stderr.strip().splitlines()[-1:])
        for line in done.stdout.splitlines():
            if line.startswith("ANSWER"):
                return json.loads(line.removeprefix("ANSWER")), ""
    return None, complaint


def ffi_version(include: str) -> tuple[int, int] | None:
    """The version of XLA's foreign function interface in these headers.

    None if they have none that tells handlers the number of threads, as before TensorFlow 2.19.
    """
    header = Path(include) / "xla" / "ffi" / "api" / "c_api.h"
    text = header.read_text() if include and header.exists() else ""
    if "XLA_FFI_ThreadPool_NumThreads" not in text:
        return None
    numbers = (re.search(rf"#define XLA_FFI_API_{part} (\d+)", text) for part in ("MAJOR", "MINOR"))
    major, minor = (int(number[1]) for number in numbers)
    return major, minor


def cuda_environment(nvidia_packages: list[str]) -> dict[str, str]:
    """The environment in which CMake finds nvcc.

    nvcc is taken from `CUDACXX`, from the `PATH`, or from PyPI's `nvidia-cuda-nvcc`, in this order.
    """
    environment = dict(os.environ)
    if not (environment.get("CUDACXX") or shutil.which("nvcc")):
        for folder in nvidia_packages:
            for nvcc in Path(folder).glob("cu*/bin/nvcc"):
                environment["CUDACXX"] = str(nvcc)
                # nvcc does not search the folder of the package's own libraries.
                environment["LIBRARY_PATH"] = str(nvcc.parents[1] / "lib")
    return environment


def cuda_choice(framework_has_cuda: bool, environment: dict[str, str]) -> str:
    """Returns the CMake option `BOXCONV_CUDA`: ON, OFF, or AUTO (build the kernels if nvcc works).

    AUTO becomes OFF if no framework supports CUDA: compiling kernels takes minutes.
    """
    choice = environment.get("BOXCONV_CUDA", "AUTO")
    if choice not in ("AUTO", "ON", "OFF"):
        raise SystemExit(f"{FAILED}BOXCONV_CUDA must be ON, OFF or AUTO. Received: {choice}")
    if choice == "ON" and not shutil.which(environment.get("CUDACXX") or "nvcc"):
        raise SystemExit(FAILED + NO_NVCC)
    if choice == "AUTO" and not framework_has_cuda:
        print("tf_boxconv: CUDA kernels are NOT built: no installed framework supports CUDA")
        return "OFF"
    return choice


def built_cuda_version(build: Path) -> str | None:
    """The version of the nvcc that CMake used, or None if it built no CUDA kernels."""
    version = build / "cuda_version.txt"
    return version.read_text().strip() or None if version.exists() else None


def cxx_compiler() -> str:
    """The C++ compiler, with flags if `CXX` has any. Exits if it cannot compile C++17."""
    usual = ("c++", "g++", "clang++")
    compiler = os.environ.get("CXX") or next(filter(shutil.which, usual), None)
    if compiler is None:
        raise SystemExit(f"{FAILED}none of {', '.join(usual)} is on the PATH. {GET_COMPILER}")
    # Old compilers accept -std=c++17 but lack headers of its standard library.
    source = "#include <charconv>\n#if __cplusplus < 201703L\n#error no C++17\n#endif\n"
    command = [*shlex.split(compiler), "-std=c++17", "-fsyntax-only", "-x", "c++", "-"]
    try:
        done = subprocess.run(command, input=source, capture_output=True, text=True)
    except OSError as error:
        raise SystemExit(f"{FAILED}{compiler} cannot be run: {error}. {GET_COMPILER}") from None
    if done.returncode:
        said = "".join(done.stderr.strip().splitlines()[:1]) or f"exit status {done.returncode}"
        raise SystemExit(f"{FAILED}{compiler} cannot compile C++17 ({said}). {GET_COMPILER}")
    return compiler


def build_tool(name: str) -> str:
    """The path of `cmake` or `ninja`."""
    path = shutil.which(name)
    if path is None:
        raise SystemExit(
            f"{FAILED}{name} is not on the PATH. Run `pip install cmake ninja`, or drop "
            "--no-build-isolation, so that pip brings both."
        )
    return path


def run(command: list, environment: dict[str, str], task: str) -> None:
    """Runs a command of the build. If it fails, exits with one sentence of advice."""
    process = subprocess.Popen(
        list(map(str, command)),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    help_for_failure = f"{task} failed; the first error is in the output above."
    for line in process.stdout:
        sys.stdout.write(line)
        for pattern, text in HELP.items():
            if re.search(pattern, line):
                help_for_failure = text
    sys.stdout.flush()
    if process.wait():
        raise SystemExit(FAILED + help_for_failure)


def replace_folder(source: Path, target: Path) -> None:
    """Replaces the folder `target` by a copy of `source`.

    All files are copied before any is replaced, so a full disk changes nothing. Processes that have
    loaded an earlier library keep it.
    """
    copy, old = target.with_name(f".{target.name}.new"), target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(copy, ignore_errors=True)
    try:
        shutil.copytree(source, copy)
        if target.exists():
            target.rename(old)
        copy.rename(target)
    finally:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def minor_version(tensorflow: dict) -> tuple[int, int]:
    """The minor version, such as (2, 21). The ops are compatible with all its patch releases."""
    major, minor = tensorflow["version"].split(".")[:2]
    return int(major), int(minor)


def op_folder(library: Path, tensorflow: dict) -> Path:
    """The folder of the ops for this TensorFlow, which tf_boxconv/backends/library.py looks for."""
    major, minor = minor_version(tensorflow)
    return library / f"tensorflow_{major}.{minor}"


def tensorflow_options(tensorflow: dict | None, library: Path) -> list[str]:
    """The options of CMake that select a TensorFlow; None builds no ops."""
    if tensorflow is None:
        return ["-DBOXCONV_TF_COMPILE_FLAGS=", "-DBOXCONV_TF_LINK_FLAGS=", "-DBOXCONV_XLA=OFF"]
    # Earlier versions lack headers that the lowering needs.
    xla = "ON" if minor_version(tensorflow) >= (2, 20) else "OFF"
    return [
        f"-DBOXCONV_TF_COMPILE_FLAGS={shlex.join(tensorflow['compile'])}",
        f"-DBOXCONV_TF_LINK_FLAGS={shlex.join(tensorflow['link'])}",
        f"-DBOXCONV_TF_OUTPUT_DIRECTORY={op_folder(library, tensorflow)}",
        f"-DBOXCONV_XLA={xla}",
    ]


def write_build_info(
    folder: Path, frameworks: Frameworks, tensorflow: dict | None, cuda: str | None
) -> None:
    """Writes `build_info.json`, the versions that the libraries in `folder` were built with."""
    ffi = ffi_version(frameworks.ffi_include)
    info = {
        "tensorflow": tensorflow["version"] if tensorflow else None,
        "jax": frameworks.jax["version"] if frameworks.jax else None,
        "torch": frameworks.torch["version"] if frameworks.torch else None,
        "xla_ffi": ".".join(map(str, ffi)) if ffi else None,
        "cuda": cuda,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "build_info.json").write_text(json.dumps(info) + "\n")


class BuildLibraries(build_ext):
    """Builds the libraries and their descriptions, `build_info.json`, into `tf_boxconv/lib`."""

    def build_extension(self, ext: Extension) -> None:
        """Configures and builds custom_ops with CMake."""
        try:
            self._build()
        except OSError as error:
            raise SystemExit(f"{FAILED}{error}") from None

    def _build(self) -> None:
        compiler, cmake, ninja = cxx_compiler(), build_tool("cmake"), build_tool("ninja")
        frameworks = find_frameworks()
        environment = {**cuda_environment(frameworks.nvidia), "CXX": compiler}
        library = Path(self.build_lib).resolve() / "tf_boxconv" / "lib"
        # Files of an earlier build may be for other frameworks.
        shutil.rmtree(library, ignore_errors=True)
        build = Path(self.build_temp).resolve() / "cmake"
        configure = [
            *(cmake, "-S", ROOT / "custom_ops", "-B", build, "-G", "Ninja"),
            # pip installs ninja into a new folder each time; CMake would keep the old path.
            f"-DCMAKE_MAKE_PROGRAM={ninja}",
            f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={library}",
            f"-DBOXCONV_FFI_INCLUDE={frameworks.ffi_include}",
            f"-DBOXCONV_CUDA={cuda_choice(frameworks.has_cuda, environment)}",
        ]
        # Core is the same for all versions of TensorFlow, so only the first build compiles it.
        for tensorflow in frameworks.tensorflows or [None]:
            try:
                run(configure + tensorflow_options(tensorflow, library), environment, "CMake")
            except SystemExit:
                # CMake's cache may name a compiler that has been removed since.
                shutil.rmtree(build, ignore_errors=True)
                raise
            run([cmake, "--build", build], environment, "compiling")
        cuda = built_cuda_version(build)
        write_build_info(library, frameworks, None, cuda)
        for tensorflow in frameworks.tensorflows:
            write_build_info(op_folder(library, tensorflow), frameworks, tensorflow, cuda)

    def copy_extensions_to_source(self) -> None:
        """Copies the libraries next to the sources, as `pip install -e .` needs."""
        built = Path(self.build_lib) / "tf_boxconv" / "lib"
        try:
            replace_folder(built, ROOT / "tf_boxconv" / "lib")
        except OSError as error:
            raise SystemExit(f"{FAILED}{error}") from None

    def get_ext_filename(self, fullname: str) -> str:
        """Returns the file of core's library, which every build has; Python does not import it."""
        return str(Path("tf_boxconv", "lib", "libtf_boxconv_core.so"))


class PlatformWheel(bdist_wheel):
    """A wheel for this platform and any Python 3: no library depends on Python's version."""

    def get_tag(self) -> tuple[str, str, str]:
        """Returns the tags of the file's name."""
        return "py3", "none", super().get_tag()[2]


setup(
    ext_modules=[Extension("tf_boxconv.lib.tf_boxconv_core", sources=[])],
    cmdclass={"build_ext": BuildLibraries, "bdist_wheel": PlatformWheel},
)
