"""What every test run needs of the backend that `KERAS_BACKEND` names."""

import os

import keras

if keras.config.backend() == "jax":
    # Two devices, over which arrays can be sharded.
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count=2".strip()
    import jax

    # Without it JAX has no float64, against which all is tested.
    jax.config.update("jax_enable_x64", True)

if keras.config.backend() == "torch":
    import torch

    # OpenMP's threads wait for each other by spinning, which stalls test processes side by side.
    torch.set_num_threads(1)
