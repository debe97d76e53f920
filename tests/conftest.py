"""What every test run needs of the backend that `KERAS_BACKEND` names."""

import keras

if keras.config.backend() == "jax":
    import jax

    # Without it JAX has no float64, against which all is tested.
    jax.config.update("jax_enable_x64", True)

if keras.config.backend() == "torch":
    import torch

    # OpenMP's threads wait for each other by spinning, which stalls test processes side by side.
    torch.set_num_threads(1)
