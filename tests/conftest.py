"""Settings of the backend that `KERAS_BACKEND` names, the option `--sample`, and seeds."""

import os
import zlib

import keras
import pytest

from tests.seeds import seed_weights

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


def pytest_addoption(parser):
    parser.addoption(
        "--sample",
        type=int,
        default=1,
        metavar="N",
        help="run parametrized tests with the first and about 1 of N further sets of parameters",
    )


def pytest_collection_modifyitems(config, items):
    """Deselects tests as `--sample` asks, the same ones in each run."""
    one_of = config.getoption("--sample")
    kept, left_out, seen = [], [], set()
    for item in items:
        test = item.nodeid.split("[")[0]
        chosen = test not in seen or zlib.crc32(item.nodeid.encode()) % one_of == 0
        seen.add(test)
        (kept if chosen else left_out).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=left_out)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Seeds random numbers before the fixtures of each test: no test fails by chance."""
    seed_weights(zlib.crc32(item.nodeid.encode()))


@pytest.fixture(scope="module", autouse=True)
def tensorflow_seed(request):
    """Seeds TensorFlow's own random operations, such as the shuffling of `fit`."""
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        tf.random.set_seed(zlib.crc32(request.node.nodeid.encode()))


@pytest.fixture(autouse=True)
def environment_variables():
    """Restores the environment variables after each test, because tests start other programs."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    for name, value in before.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


@pytest.fixture(scope="module")
def fused_on_all_planes():
    """Makes `separable_box_conv2d` run its fused operator on small planes too; for modules."""
    with pytest.MonkeyPatch.context() as patch:
        if keras.config.backend() == "tensorflow":
            from tf_boxconv.backends.tensorflow import separable_box_conv

            patch.setattr(separable_box_conv, "MIN_PIXELS", 0)
        yield
