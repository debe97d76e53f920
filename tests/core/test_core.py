"""Builds core and its C++ test without TensorFlow and runs them under sanitizers."""

import shutil
import subprocess
from pathlib import Path

import pytest

CUSTOM_OPS = Path(__file__).resolve().parents[2] / "custom_ops"


@pytest.mark.timeout(1200)
@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
def test_core_under_sanitizers(tmp_path):
    def run(*command):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
        return done.stdout

    run("cmake", "-S", CUSTOM_OPS, "-B", tmp_path, "-DBOXCONV_CORE_TESTS=ON")
    run("cmake", "--build", tmp_path, "--parallel", "2")
    run("ctest", "--test-dir", tmp_path, "--output-on-failure")
