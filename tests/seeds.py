"""Seeds of the tests' random numbers."""

import random

import keras
import numpy as np


def seed_weights(seed: int) -> None:
    """Seeds what initial weights, dropout and NumPy's numbers are drawn from.

    Unlike `keras.utils.set_random_seed`, it leaves the seed of TensorFlow's own random operations
    alone. Setting that seed deletes all compiled functions, which costs seconds in a test.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  Keras draws from it
    if keras.config.backend() == "torch":
        import torch

        torch.manual_seed(seed)
