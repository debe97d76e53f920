"""The learned mixing of channels: a 1x1 convolution that runs in both layouts on every device."""

from __future__ import annotations

import math

from keras import ops


def mix_channels(inputs, kernel, data_format):
    """Returns `inputs` with its channels mixed by `kernel`, `[channels, filters]`.

    TensorFlow's convolution does not run in the `"channels_first"` layout on the CPU; there this
    is one matrix product a batch item, and no transposition.
    """
    # The dtype policy of a layer may have changed since its kernel was made.
    kernel = ops.cast(kernel, inputs.dtype)
    channels, filters = kernel.shape
    # Not `ops.tensordot` and `ops.matmul`, which give float32 for float64 on PyTorch (Keras 3.15).
    if data_format == "channels_last":
        *leading, _ = ops.shape(inputs)
        # With one unknown, converters to other runtimes need no arithmetic on shapes.
        pixels = ops.reshape(inputs, (-1 if channels else math.prod(leading), channels))
        return ops.reshape(pixels @ kernel, (*leading, filters))
    batch, _, height, width = ops.shape(inputs)
    planes = ops.reshape(inputs, (batch, channels, height * width))
    return ops.reshape(ops.transpose(kernel) @ planes, (batch, filters, height, width))
