"""A 1x1 convolution that runs in both data formats on every device."""

from __future__ import annotations

import math

from keras import ops


def mix_channels(inputs, kernel, data_format):
    """Multiplies the channels of each pixel of `inputs` by `kernel`, `[channels, filters]`.

    Not `ops.conv`: TensorFlow's convolution does not run in `"channels_first"` on the CPU. Neither
    data format needs a transposition of `inputs`.
    """
    # The dtype policy of the layer may have changed since the kernel was created.
    kernel = ops.cast(kernel, inputs.dtype)
    channels, filters = kernel.shape
    # Not `ops.tensordot` or `ops.matmul`: they give float32 for float64 on PyTorch (Keras 3.15).
    if data_format == "channels_last":
        *leading, _ = ops.shape(inputs)
        # A shape with a single unknown size, -1, needs no arithmetic on shapes in exported graphs.
        pixels = ops.reshape(inputs, (-1 if channels else math.prod(leading), channels))
        return ops.reshape(pixels @ kernel, (*leading, filters))
    batch, _, height, width = ops.shape(inputs)
    planes = ops.reshape(inputs, (batch, channels, height * width))
    return ops.reshape(ops.transpose(kernel) @ planes, (batch, filters, height, width))
