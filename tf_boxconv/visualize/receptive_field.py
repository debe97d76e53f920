"""The effective receptive field of a model: how much each input pixel moves the middle output."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np

from tf_boxconv.visualize.drawing import new_figure

if TYPE_CHECKING:
    import matplotlib.figure


def effective_receptive_field(
    model: keras.Model,
    inputs: np.ndarray,
    channel: int | None = None,
    data_format: str | None = None,
) -> np.ndarray:
    """Measures a model's effective receptive field by its gradient.

    It is the absolute gradient of the middle pixel of the output with respect to the input, summed
    over the input's channels and averaged over inputs (Luo et al., Understanding the Effective
    Receptive Field in Deep Convolutional Neural Networks, NeurIPS 2016). The middle is
    `size // 2` along each axis. The model runs as in inference.

    Args:
        model: From images to one 4D tensor.
        inputs: A batch of images, as the model takes them. All are run at once.
        channel: Which output channel; None adds the gradients of all output channels up before
            their absolute value is taken.
        data_format: Of input and output, `"channels_last"` or `"channels_first"`; None takes the
            value of your Keras config file.

    Returns:
        float64 `[height, width]`, not negative.

    Raises:
        ValueError: If input or output are not 4D, or there is no such channel.
    """
    data_format = data_format or keras.config.image_data_format()
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(
            f'`data_format` must be "channels_last" or "channels_first", got {data_format!r}.'
        )
    inputs = np.asarray(inputs, np.float32)
    if inputs.ndim != 4 or not inputs.size:
        raise ValueError(f"`inputs` must be a 4D batch of images, got shape {list(inputs.shape)}.")

    def middle(outputs):
        if len(outputs.shape) != 4:
            raise ValueError(f"`model` must give 4D outputs, got shape {list(outputs.shape)}.")
        if data_format == "channels_first":
            outputs = keras.ops.transpose(outputs, (0, 2, 3, 1))
        _, height, width, channels = outputs.shape
        if channel is not None and not 0 <= channel < channels:
            raise ValueError(f"`channel` must be from 0 to {channels - 1}, got {channel}.")
        pixel = outputs[:, height // 2, width // 2]
        return pixel if channel is None else pixel[:, channel]

    gradient = np.abs(_input_gradient(model, inputs, middle).astype(np.float64))
    return gradient.sum(axis=3 if data_format == "channels_last" else 1).mean(axis=0)


def _input_gradient(model, inputs: np.ndarray, scalar) -> np.ndarray:
    """The gradient of the sum of `scalar(model(inputs))` with respect to the inputs."""

    def total(images):
        # Items do not see each other in inference: the sum's gradient is each one's own.
        return keras.ops.sum(scalar(model(images, training=False)))

    gradient = _GRADIENTS[keras.backend.backend()](total, keras.ops.convert_to_tensor(inputs))
    return np.zeros_like(inputs) if gradient is None else keras.ops.convert_to_numpy(gradient)


def _tensorflow_gradient(total, images):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(images)
        value = total(images)
    return tape.gradient(value, images)


def _jax_gradient(total, images):
    import jax

    return jax.grad(total)(images)


def _torch_gradient(total, images):
    import torch

    images = images.clone().requires_grad_()
    value = total(images)
    if not value.requires_grad:
        return None
    # Not `backward`, which would leave gradients in the model's weights.
    (gradient,) = torch.autograd.grad(value, images, allow_unused=True)
    return gradient


_GRADIENTS = {
    "tensorflow": _tensorflow_gradient,
    "jax": _jax_gradient,
    "torch": _torch_gradient,
}


def draw_receptive_field(field: np.ndarray) -> matplotlib.figure.Figure:
    """Draws a receptive field: the square root of the share of its largest value.

    Args:
        field: `[height, width]`, of `effective_receptive_field`.

    Returns:
        A matplotlib figure.
    """
    field = np.asarray(field, np.float64)
    if field.ndim != 2:
        raise ValueError(f"`field` must be [height, width], got shape {list(field.shape)}.")
    figure = new_figure(4.6, 4.0)
    axes = figure.subplots()
    share = np.sqrt(field / (field.max(initial=0.0) or 1.0))
    picture = axes.imshow(share, cmap="magma", vmin=0.0, vmax=1.0)
    axes.set_xlabel("input pixels")
    figure.colorbar(picture, ax=axes, shrink=0.85, label="square root of the share of the most")
    return figure
