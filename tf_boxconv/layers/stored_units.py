"""Adapters that apply initializers, regularizers and constraints in pixels to stored boxes.

They are subclasses of Keras classes because `add_weight` accepts no plain functions before Keras
3.15. A layer creates them when it is built. They are never saved: the layer's `get_config` contains
the initializer, regularizer and constraint in pixels.
"""

from __future__ import annotations

import keras
from keras import ops

from tf_boxconv.layers.box_scale import BoxScale


class StoredInitializer(keras.initializers.Initializer):
    """Initializes boxes in pixels and converts them to stored units."""

    def __init__(self, initializer, scale: BoxScale):
        self._initializer = initializer
        self._scale = scale

    def __call__(self, shape, dtype=None):
        """Returns boxes in stored units."""
        pixels = self._initializer(shape, dtype=dtype)
        return self._scale.to_initial_stored(ops.cast(pixels, dtype))


class StoredRegularizer(keras.regularizers.Regularizer):
    """Applies a regularizer to boxes converted to pixels."""

    def __init__(self, regularizer, scale: BoxScale):
        self._regularizer = regularizer
        self._scale = scale

    def __call__(self, stored):
        """Returns the penalty for boxes in stored units."""
        return self._regularizer(self._scale.to_pixels(ops.convert_to_tensor(stored)))


class StoredConstraint(keras.constraints.Constraint):
    """Applies a constraint to boxes converted to pixels."""

    def __init__(self, constraint, scale: BoxScale):
        self._constraint = constraint
        self._scale = scale

    def __call__(self, stored):
        """Returns the constrained boxes in stored units."""
        return self._scale.project(self._constraint, ops.convert_to_tensor(stored))
