"""The learned mixing of channels: a 1x1 convolution that runs in both layouts on every device."""

from __future__ import annotations

from keras import ops


def mix_channels(inputs, kernel, data_format):
    """Returns `inputs` with its channels mixed by `kernel`, `[channels, filters]`.

    TensorFlow's convolution does not run in the `"channels_first"` layout on the CPU; there this
    is one matrix product a batch item, and no transposition.
    """
    if data_format == "channels_last":
        return ops.tensordot(inputs, kernel, axes=1)
    batch, channels, height, width = ops.shape(inputs)
    planes = ops.reshape(inputs, (batch, channels, height * width))
    mixed = ops.matmul(ops.transpose(kernel), planes)
    return ops.reshape(mixed, (batch, kernel.shape[1], height, width))
