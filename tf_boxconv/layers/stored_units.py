"""Initializers, regularizers and constraints on pixels, applied to boxes in stored units.

They are Keras objects rather than functions: before Keras 3.15, weights take nothing else. A layer
makes its own when it is built, and none is ever saved; `get_config` has the rules on pixels.
"""

from __future__ import annotations

import keras
from keras import ops

from tf_boxconv.layers.box_scale import BoxScale


class StoredInitializer(keras.initializers.Initializer):
    """Draws boxes in pixels and converts them to stored units."""

    def __init__(self, initializer, scale: BoxScale):
        self._initializer = initializer
        self._scale = scale

    def __call__(self, shape, dtype=None):
        """Returns boxes in stored units."""
        pixels = self._initializer(shape, dtype=dtype)
        return self._scale.initial(ops.cast(pixels, dtype))


class StoredRegularizer(keras.regularizers.Regularizer):
    """Penalty on boxes in pixels."""

    def __init__(self, regularizer, scale: BoxScale):
        self._regularizer = regularizer
        self._scale = scale

    def __call__(self, stored):
        """Returns the penalty on boxes in stored units."""
        return self._regularizer(self._scale.to_pixels(ops.convert_to_tensor(stored)))


class StoredConstraint(keras.constraints.Constraint):
    """Projection of boxes in pixels."""

    def __init__(self, constraint, scale: BoxScale):
        self._constraint = constraint
        self._scale = scale

    def __call__(self, stored):
        """Returns boxes in stored units that satisfy the constraint in pixels."""
        return self._scale.project(self._constraint, ops.convert_to_tensor(stored))
