"""The JAX backend, in a process of its own: JAX's devices and types are chosen once a process."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHECKS = Path(__file__).with_name("jax_checks.py")
ENVIRONMENT = {
    "KERAS_BACKEND": "jax",
    "JAX_ENABLE_X64": "1",
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
}


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_jax_checks():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", str(CHECKS)]
    # What pytest-xdist tells this process is not for that one.
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    done = subprocess.run(
        command, cwd=ROOT, env={**inherited, **ENVIRONMENT}, capture_output=True, text=True
    )
    print(done.stdout[-3000:])
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-3000:]
