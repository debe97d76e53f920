"""Random images, and their shapes in both data formats."""

import numpy as np

DATA_FORMATS = ("channels_last", "channels_first")


def image_shape(data_format, height=9, width=11, channels=8, batch=2):
    if data_format == "channels_last":
        return (batch, height, width, channels)
    return (batch, channels, height, width)


def images(shape, seed=0, dtype=np.float32):
    """Returns an array of normally distributed values."""
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)
