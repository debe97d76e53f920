"""The base class of the nodes that the functions of `ops` add to functional models."""

from __future__ import annotations

import keras


class BoxConvOperation(keras.Operation):
    """A node with the options of a box convolution."""

    def __init__(self, strides, normalization, data_format, implementation, *, name=None):
        super().__init__(name=name)
        self.strides = tuple(strides)  # A list if it comes from a saved model.
        self.normalization = normalization
        self.data_format = data_format
        self.implementation = implementation

    def get_config(self):
        """Returns the config of the operation."""
        return {
            **super().get_config(),
            "strides": self.strides,
            "normalization": self.normalization,
            "data_format": self.data_format,
            "implementation": self.implementation,
        }
