"""Settings of the backend that `KERAS_BACKEND` names, and the seeds of the tests."""

import os
import zlib

import keras
import pytest

if keras.config.backend() == "jax":
    # Tests of sharding need two devices.
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count=2".strip()
    import jax

    # Most tests compare in float64, which JAX lacks without this.
    jax.config.update("jax_enable_x64", True)

if keras.config.backend() == "torch":
    import torch

    # OpenMP's threads spin while they wait, which slows down the other test processes.
    torch.set_num_threads(1)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Seeds all random numbers before the fixtures of each test: no test fails by chance."""
    keras.utils.set_random_seed(zlib.crc32(item.nodeid.encode()))


@pytest.fixture(scope="module")
def fused_on_all_planes():
    """Makes `separable_box_conv2d` run its fused operator on small planes too; for modules."""
    with pytest.MonkeyPatch.context() as patch:
        if keras.config.backend() == "tensorflow":
            from tf_boxconv.backends.tensorflow import separable_box_conv

            patch.setattr(separable_box_conv, "MIN_PIXELS", 0)
        yield
