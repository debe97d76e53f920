"""Builds core and its C++ tests without TensorFlow and runs them.

All tests run under the address and undefined-behaviour sanitizers, and those of threads under the
thread sanitizer. They also run for Arm64 if a cross compiler and an emulator are installed (on
Debian and Ubuntu: `apt install g++-aarch64-linux-gnu qemu-user`).
"""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.long
ROOT = Path(__file__).resolve().parents[2]
CUSTOM_OPS = ROOT / "custom_ops"
ARM64_COMPILER = "aarch64-linux-gnu-g++"
ARM64_EMULATOR = "qemu-aarch64"
ARM64 = (
    "-DCMAKE_SYSTEM_NAME=Linux",
    "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
    f"-DCMAKE_CXX_COMPILER={ARM64_COMPILER}",
    f"-DCMAKE_CROSSCOMPILING_EMULATOR={ARM64_EMULATOR}",
    "-DCMAKE_EXE_LINKER_FLAGS=-static",
    "-DBOXCONV_SANITIZERS=OFF",  # they do not run in the emulator
)


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]


def build(folder, *options, targets=("all",)):
    run("cmake", "-S", CUSTOM_OPS, "-B", folder, "-DBOXCONV_CORE_TESTS=ON", *options)
    run("cmake", "--build", folder, "--parallel", "2", "--target", *targets)


def build_and_run(folder, *options):
    build(folder, *options)
    run("ctest", "--test-dir", folder, "--parallel", "2", "--output-on-failure", "--no-tests=error")


def run_under_thread_sanitizer(program):
    """Runs a program. If memory is in the sanitizer's way, retries without address randomisation.

    On systems with `vm.mmap_rnd_bits` above 28, memory may lie where the sanitizer keeps its own.
    """
    misplaced = "unexpected memory mapping"
    done = subprocess.run([program], capture_output=True, text=True)
    if misplaced in done.stderr:
        fixed = ["setarch", platform.machine(), "-R", program]
        done = subprocess.run(fixed, capture_output=True, text=True)
        if misplaced in done.stderr or "setarch:" in done.stderr:  # containers may forbid it
            pytest.skip(
                f"thread sanitizer: {misplaced}, with `setarch -R` too: {done.stderr[:300]}"
            )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]


@pytest.mark.timeout(1200)
@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
def test_core_under_sanitizers():
    # `make fuzz` builds most of the same files.
    build_and_run(ROOT / "build/fuzz")


@pytest.mark.timeout(1200)
@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
def test_threads_under_the_thread_sanitizer(tmp_path):
    programs = ("pool_test", "threads_test")
    build(tmp_path, "-DBOXCONV_SANITIZERS=thread", targets=programs)
    for program in programs:
        run_under_thread_sanitizer(tmp_path / program)


@pytest.mark.timeout(1200)
@pytest.mark.skipif(
    not (shutil.which(ARM64_COMPILER) and shutil.which(ARM64_EMULATOR)),
    reason="no compiler and emulator for Arm64",
)
def test_core_on_arm64(tmp_path):
    build_and_run(tmp_path, *ARM64)
