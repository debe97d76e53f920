"""What every test run needs of the backend that `KERAS_BACKEND` names."""

import keras

if keras.config.backend() == "jax":
    import jax

    # Without it JAX has no float64, against which all is tested.
    jax.config.update("jax_enable_x64", True)
