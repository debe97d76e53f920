"""The CUDA handlers without a GPU: on emulated kernels, called by a stand-in for XLA."""

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

import tf_boxconv
from benchmarks.gpu.library import CUSTOM_OPS
from tests.gpu import emulated_library

LIBRARY = Path(tf_boxconv.__file__).parent / "lib"
TESTS_CORE = Path(__file__).resolve().parents[1] / "core"


def ffi_include() -> str | None:
    """The folder of XLA's headers, in TensorFlow or JAX."""
    if importlib.util.find_spec("tensorflow"):
        import tensorflow as tf

        return tf.sysconfig.get_include()
    if importlib.util.find_spec("jax"):
        import jax

        return jax.ffi.include_dir()
    return None


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
@pytest.mark.skipif(ffi_include() is None, reason="no headers of XLA's FFI")
def test_cuda_handlers_emulated(tmp_path):
    kernels = emulated_library.build(tmp_path)
    command = ["c++", "-std=c++17", "-O1", f"-I{CUSTOM_OPS}", f"-isystem{ffi_include()}"]
    command += [Path(__file__).with_name("cuda_handlers_test.cc"), TESTS_CORE / "test_main.cc"]
    command += [CUSTOM_OPS / "ffi" / "handlers_cuda.cc"]
    command += [kernels, "-L", LIBRARY, "-l:libtf_boxconv_core.so"]
    command += [f"-Wl,-rpath,{LIBRARY}:{tmp_path}", "-o", tmp_path / "test"]
    subprocess.run(command, check=True)
    done = subprocess.run([tmp_path / "test"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
