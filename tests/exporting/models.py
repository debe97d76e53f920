"""A small model with all three box layers, and images for it."""

import keras
import numpy as np

from tests import images as random_images
from tests.seeds import seed_weights
from tf_boxconv.layers import BoxBottleneck, BoxConv2D, DepthwiseBoxConv2D

SIZE = (20, 26)


def model(size=SIZE, seed=0):
    """Builds a model of all layers, with several boxes per channel, strides, each normalization."""
    seed_weights(seed)
    inputs = keras.Input((*size, 3), name="image")
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    x = DepthwiseBoxConv2D(3, normalization="valid", max_size=SIZE, use_bias=True)(x)
    x = BoxConv2D(8, depth_multiplier=2, strides=(2, 1), max_size=SIZE, activation="relu")(x)
    x = BoxBottleneck(2, normalization="valid", max_size=SIZE, name="block")(x)
    x = DepthwiseBoxConv2D(normalization=None, strides=(1, 3), max_size=3)(x)
    outputs = keras.layers.Conv2D(4, 1, name="heatmaps")(x)
    built = keras.Model(inputs, outputs, name="small")
    rng = np.random.default_rng(seed)
    for variable in built.non_trainable_variables:  # An export must keep the moving averages.
        if "moving_mean" in variable.path:
            variable.assign(rng.uniform(-0.1, 0.1, variable.shape))
        if "moving_variance" in variable.path:
            variable.assign(rng.uniform(0.05, 0.2, variable.shape))
    return built


def images(batch=2, size=SIZE, seed=1):
    return random_images.images((batch, *size, 3), seed)


def relative_error(actual, expected):
    """Returns the largest difference, divided by the largest expected value."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    assert np.isfinite(actual).all() and expected.any()
    return np.abs(actual - expected).max() / np.abs(expected).max()
