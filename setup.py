"""Builds the compiled libraries for the installed frameworks. Metadata is in pyproject.toml.

| installed | built |
| --- | --- |
| TensorFlow | TensorFlow ops with their XLA lowering, and core with XLA handlers for JAX |
| JAX alone | core with XLA handlers |
| PyTorch alone | core |

CMake runs the compilers. `pip install .` builds in an isolated environment that hides the installed
frameworks, so a new interpreter outside of it is started to find them.
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
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent

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

    tensorflow: dict | None
    jax: dict | None
    torch: dict | None
    nvidia: list[str]  # folders of NVIDIA's CUDA packages from PyPI

    @property
    def has_cuda(self) -> bool:
        """Whether any of the frameworks supports CUDA."""
        found = (self.tensorflow, self.jax, self.torch)
        return any(framework["has_cuda"] for framework in found if framework)

    @property
    def ffi_include(self) -> str:
        """The include folder of XLA's foreign function interface, or an empty string.

        TensorFlow's headers are preferred to JAX's: TensorFlow refuses handlers built for a newer
        interface than its own, but JAX accepts older ones.
        """
        framework = self.tensorflow or self.jax
        return framework["include"] if framework else ""


def find_frameworks() -> Frameworks:
    """Finds the installed frameworks. Exits with an error if there are none."""
    errors = {}
    found = {}
    questions = {"TensorFlow": ASK_TENSORFLOW, "JAX": ASK_JAX, "PyTorch": ASK_TORCH}
    for name, question in questions.items():
        found[name], errors[name] = ask(question)
    if not any(found.values()):
        said = "\n".join(f"  {name}: {error}" for name, error in errors.items())
        print(f"{sys.executable} found no framework:\n{said}")
        raise SystemExit(
            f"{FAILED}it compiles for the installed frameworks and found none of TensorFlow, "
            "JAX and PyTorch. First run `pip install 'tensorflow>=2.21,<2.22'` (or "
            "tensorflow-cpu), `pip install jax` or `pip install torch`. If your installer builds "
            "in an environment of its own (uv, build), pass --no-build-isolation with setuptools, "
            "cmake and ninja installed."
        )
    for name, answer in found.items():
        state = answer["version"] if answer else f"not found ({errors[name]})"
        print(f"tf_boxconv: {name} {state}")
    nvidia, _ = ask('answer["folders"] = folders("nvidia")')
    return Frameworks(*found.values(), nvidia["folders"] if nvidia else [])


def ask(question: str) -> tuple[dict | None, str]:
    """Runs a question in a new interpreter; returns the answer, or None and the last error line."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    isolated = {k: v for k, v in environment.items() if k != "PYTHONPATH"}
    complaint = ""
    # The second attempt keeps PYTHONPATH, which may contain a framework if pip runs with
    # --no-build-isolation.
    for env in (isolated, environment):
        code = ASK.format(question=question)
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
        complaint = complaint or "".join(done.stderr.strip().splitlines()[-1:])
        for line in done.stdout.splitlines():
            if line.startswith("ANSWER"):
                return json.loads(line.removeprefix("ANSWER")), ""
    return None, complaint


def ffi_version(include: str) -> str | None:
    """The version of XLA's foreign function interface in these headers."""
    if not include:
        return None
    text = (Path(include) / "xla" / "ffi" / "api" / "c_api.h").read_text()
    numbers = (re.search(rf"#define XLA_FFI_API_{part} (\d+)", text) for part in ("MAJOR", "MINOR"))
    return ".".join(number[1] for number in numbers)


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


def replace_files(source: Path, target: Path) -> None:
    """Makes `target` contain exactly the files of `source`.

    All files are copied before the first is replaced, so a full disk changes nothing. Each file is
    replaced by a rename, so processes that have loaded an earlier library keep it. The op library
    comes last, because make uses it as the mark of a finished build.
    """
    names = sorted((path.name for path in source.iterdir()), key=lambda name: "_ops." in name)
    target.mkdir(exist_ok=True)
    copies = [target / f".{name}" for name in names]
    try:
        for name, copy in zip(names, copies, strict=True):
            shutil.copy2(source / name, copy)
        for name, copy in zip(names, copies, strict=True):
            os.replace(copy, target / name)
    finally:
        for copy in copies:
            copy.unlink(missing_ok=True)
    for old in target.iterdir():
        if old.name not in names:
            old.unlink()


class BuildLibraries(build_ext):
    """Builds the libraries and their description, `build_info.json`, into `tf_boxconv/lib`."""

    def build_extension(self, ext: Extension) -> None:
        """Configures and builds custom_ops with CMake."""
        try:
            self._build()
        except OSError as error:
            raise SystemExit(f"{FAILED}{error}") from None

    def _build(self) -> None:
        compiler, cmake, ninja = cxx_compiler(), build_tool("cmake"), build_tool("ninja")
        frameworks = find_frameworks()
        tensorflow = frameworks.tensorflow or {"version": None, "compile": [], "link": []}
        environment = {**cuda_environment(frameworks.nvidia), "CXX": compiler}
        cuda = cuda_choice(frameworks.has_cuda, environment)
        library = Path(self.build_lib).resolve() / "tf_boxconv" / "lib"
        # Files of an earlier build may be for other frameworks.
        shutil.rmtree(library, ignore_errors=True)
        library.mkdir(parents=True)
        build = Path(self.build_temp).resolve() / "cmake"
        configure = [
            *(cmake, "-S", ROOT / "custom_ops", "-B", build, "-G", "Ninja"),
            # pip installs ninja into a new folder each time; CMake would keep the old path.
            f"-DCMAKE_MAKE_PROGRAM={ninja}",
            f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={library}",
            f"-DBOXCONV_TF_COMPILE_FLAGS={shlex.join(tensorflow['compile'])}",
            f"-DBOXCONV_TF_LINK_FLAGS={shlex.join(tensorflow['link'])}",
            f"-DBOXCONV_FFI_INCLUDE={frameworks.ffi_include}",
            f"-DBOXCONV_CUDA={cuda}",
        ]
        try:
            run(configure, environment, "CMake")
        except SystemExit:
            # CMake's cache may name a compiler that has been removed since.
            shutil.rmtree(build, ignore_errors=True)
            raise
        run([cmake, "--build", build], environment, "compiling")
        info = {
            "tensorflow": tensorflow["version"],
            "jax": frameworks.jax["version"] if frameworks.jax else None,
            "torch": frameworks.torch["version"] if frameworks.torch else None,
            "xla_ffi": ffi_version(frameworks.ffi_include),
            "cuda": built_cuda_version(build),
        }
        (library / "build_info.json").write_text(json.dumps(info) + "\n")

    def copy_extensions_to_source(self) -> None:
        """Copies the libraries next to the sources, as `pip install -e .` needs."""
        built = Path(self.build_lib) / "tf_boxconv" / "lib"
        try:
            replace_files(built, ROOT / "tf_boxconv" / "lib")
        except OSError as error:
            raise SystemExit(f"{FAILED}{error}") from None

    def get_ext_filename(self, fullname: str) -> str:
        """Returns the file of core's library, which every build has; Python does not import it."""
        return str(Path("tf_boxconv", "lib", "libtf_boxconv_core.so"))


setup(
    ext_modules=[Extension("tf_boxconv.lib.tf_boxconv_core", sources=[])],
    cmdclass={"build_ext": BuildLibraries},
)
