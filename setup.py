"""Builds the compiled op against the installed TensorFlow; all else is in pyproject.toml.

CMake does the building. `pip install .` builds in an isolated environment, in which the installed
TensorFlow is hidden, so its flags are asked of a fresh interpreter outside that environment.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent

# TensorFlow prints to stdout on some machines while it is imported, hence the marked line.
ASK_TENSORFLOW = """
import importlib.util, json, tensorflow as tf
nvidia = importlib.util.find_spec("nvidia")
print("FLAGS" + json.dumps({
    "nvidia": list(nvidia.submodule_search_locations) if nvidia else [],
    "tensorflow": tf.__version__,
    "has_cuda": tf.test.is_built_with_cuda(),
    "compile": tf.sysconfig.get_compile_flags(),
    "link": tf.sysconfig.get_link_flags(),
}))
"""


def tensorflow_flags() -> dict:
    """Returns version, compile flags and link flags of the installed TensorFlow."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment["TF_CPP_MIN_LOG_LEVEL"] = "3"
    answers = []
    # The second try sees PYTHONPATH: there `pip install --no-build-isolation` may find TensorFlow.
    for env in (environment, {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}):
        answer = subprocess.run(
            [sys.executable, "-c", ASK_TENSORFLOW], env=env, capture_output=True, text=True
        )
        answers.append(answer.stderr.strip().splitlines()[-1:] or [""])
        for line in answer.stdout.splitlines():
            if line.startswith("FLAGS"):
                return json.loads(line.removeprefix("FLAGS"))
    raise SystemExit(
        "tf_boxconv compiles against an installed TensorFlow and found none: run "
        "`pip install 'tensorflow>=2.21,<2.22'` (or tensorflow-cpu) first. If your installer "
        "builds in an environment of its own (uv, build), pass --no-build-isolation with "
        f"setuptools, cmake and ninja installed.\n{sys.executable} said: {answers[0][0]}"
    )


def cuda_environment(nvidia_packages: list[str]) -> dict[str, str]:
    """The environment in which CMake finds nvcc.

    That is where `CUDACXX` says, on the `PATH`, or where PyPI's `nvidia-cuda-nvcc` has it.
    """
    environment = dict(os.environ)
    if not (environment.get("CUDACXX") or shutil.which("nvcc")):
        for folder in nvidia_packages:
            for nvcc in Path(folder).glob("cu*/bin/nvcc"):
                environment["CUDACXX"] = str(nvcc)
                # Its own libraries lie where nvcc does not look.
                environment["LIBRARY_PATH"] = str(nvcc.parents[1] / "lib")
    return environment


def cuda_choice(tensorflow_has_cuda: bool) -> str:
    """`BOXCONV_CUDA` of the environment (ON, OFF), or AUTO: if nvcc works.

    A TensorFlow without CUDA could never run the kernels: AUTO then spares the minutes they take.
    """
    choice = os.environ.get("BOXCONV_CUDA", "AUTO")
    if choice == "AUTO" and not tensorflow_has_cuda:
        print("tf_boxconv: CUDA kernels are NOT built: this TensorFlow has no CUDA itself")
        return "OFF"
    return choice


def built_cuda_version(build: Path) -> str | None:
    """The version of the nvcc that CMake used, or None if it built no CUDA kernels."""
    version = build / "cuda_version.txt"
    return version.read_text().strip() or None if version.exists() else None


class BuildLibrary(build_ext):
    """Puts `libtf_boxconv_ops.so` and `build_info.json` into `tf_boxconv/lib`."""

    def build_extension(self, ext: Extension) -> None:
        """Configures and builds custom_ops with CMake."""
        flags = tensorflow_flags()
        library = Path(self.build_lib).resolve() / "tf_boxconv" / "lib"
        library.mkdir(parents=True, exist_ok=True)
        build = Path(self.build_temp).resolve() / "cmake"
        environment = cuda_environment(flags["nvidia"])
        subprocess.run(
            [
                *("cmake", "-S", ROOT / "custom_ops", "-B", build, "-G", "Ninja"),
                f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={library}",
                f"-DBOXCONV_TF_COMPILE_FLAGS={' '.join(flags['compile'])}",
                f"-DBOXCONV_TF_LINK_FLAGS={' '.join(flags['link'])}",
                f"-DBOXCONV_CUDA={cuda_choice(flags['has_cuda'])}",
            ],
            env=environment,
            check=True,
        )
        subprocess.run(["cmake", "--build", build], env=environment, check=True)
        info = {"tensorflow": flags["tensorflow"], "cuda": built_cuda_version(build)}
        (library / "build_info.json").write_text(json.dumps(info) + "\n")

    def copy_extensions_to_source(self) -> None:
        """Puts the library beside the sources, which `pip install -e .` makes importable."""
        built = Path(self.build_lib) / "tf_boxconv" / "lib"
        shutil.copytree(built, ROOT / "tf_boxconv" / "lib", dirs_exist_ok=True)

    def get_ext_filename(self, fullname: str) -> str:
        """Names the library as CMake does: it is loaded by TensorFlow, not by Python."""
        return str(Path("tf_boxconv", "lib", "libtf_boxconv_ops.so"))


setup(
    ext_modules=[Extension("tf_boxconv.lib.tf_boxconv_ops", sources=[])],
    cmdclass={"build_ext": BuildLibrary},
)
