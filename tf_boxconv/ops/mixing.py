"""A 1x1 convolution and its bias, in both data formats on every device."""

from __future__ import annotations

import math

from keras import ops


def mix_channels(inputs, kernel, data_format):
    """Multiplies the channels of each pixel of `inputs` by `kernel`, `[channels, filters]`.

    Not `ops.conv`: TensorFlow's convolution does not run in `"channels_first"` on the CPU. Neither
    data format needs a transposition of `inputs`.
    """
    # The dtype policy of a layer may have changed since its kernel was created.
    kernel = ops.cast(kernel, inputs.dtype)
    channels, filters = ops.shape(kernel)
    # Not `ops.tensordot` or `ops.matmul`: they give float32 for float64 on PyTorch (Keras 3.15).
    if data_format == "channels_last":
        *leading, _ = ops.shape(inputs)
        # A shape with a single unknown size, -1, needs no arithmetic on shapes in exported graphs.
        inferable = isinstance(channels, int) and channels > 0
        pixels = ops.reshape(inputs, (-1 if inferable else math.prod(leading), channels))
        return ops.reshape(pixels @ kernel, (*leading, filters))
    batch, _, height, width = ops.shape(inputs)
    planes = ops.reshape(inputs, (batch, channels, height * width))
    return ops.reshape(ops.transpose(kernel) @ planes, (batch, filters, height, width))


def add_bias(inputs, bias, data_format):
    """Adds `bias`, `[channels]`, to each pixel of `inputs`."""
    shape = (1, 1, 1, -1) if data_format == "channels_last" else (1, -1, 1, 1)
    # Not `ops.add`: on TensorFlow it adds a channels-first bias along the last axis if the width
    # happens to equal the number of channels (Keras 3.15).
    return inputs + ops.reshape(ops.cast(bias, inputs.dtype), shape)
