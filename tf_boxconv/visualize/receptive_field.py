"""The effective receptive field of a model: how much each input pixel affects the central output.

Works on the TensorFlow, JAX and PyTorch backends of Keras.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np

from tf_boxconv.ops.arguments import channel_axis, check_index, standardize_data_format
from tf_boxconv.visualize.drawing import new_figure

if TYPE_CHECKING:
    import matplotlib.figure

# The gradient of a constant is rounding error. It is smaller than other gradients by this factor.
_ROUNDING = 1e-4


def effective_receptive_field(
    model: keras.Model,
    inputs: np.ndarray,
    channel: int | None = None,
    data_format: str | None = None,
) -> np.ndarray:
    """Computes the effective receptive field of a model.

    It is the absolute gradient of the central output pixel with respect to the input, summed over
    the input channels and averaged over `inputs`. The central pixel is `size // 2` along each
    axis. The model runs in inference mode.

    Args:
        model: A model that maps images to a single 4D tensor. A classifier, which has 2D outputs,
            is refused: pass the part of it before the pooling.
        inputs: A batch of images with shape `(batch, height, width, channels)`, or
            `(batch, channels, height, width)` if `data_format="channels_first"`. The model runs
            on the whole batch at once.
        channel: int, the index of an output channel. `None` uses the sum of all output channels.
            The sum after a softmax is constant: pass `channel`, or a model that ends in logits.
        data_format: The data format of inputs and outputs, `"channels_last"` or
            `"channels_first"`. It defaults to the `image_data_format` value found in your Keras
            config file.

    Returns:
        float64 array with shape `[height, width]` and values >= 0.

    Raises:
        ValueError: If inputs or outputs are not 4D, if the model takes integers, if `channel` is no
            index of a channel, or if the sum of the output channels is constant although the
            channels are not.

    Reference:
    - Luo et al., "Understanding the Effective Receptive Field in Deep Convolutional Neural
      Networks" (NeurIPS 2016)

    Example:
    >>> model = keras.Sequential([keras.Input((48, 48, 3)), tf_boxconv.layers.BoxConv2D(8)])
    >>> images = np.random.uniform(size=(4, 48, 48, 3))
    >>> field = tf_boxconv.visualize.effective_receptive_field(model, images)
    >>> field.shape
    (48, 48)
    """
    data_format = standardize_data_format(data_format)
    inputs = np.asarray(inputs, np.float32)
    if inputs.ndim != 4 or not inputs.size:
        raise ValueError(
            f"`inputs` must be a 4D batch of images. Received: inputs.shape={inputs.shape}"
        )

    _check_input_dtypes(model)

    def central(outputs):
        if len(getattr(outputs, "shape", ())) != 4:
            found = getattr(outputs, "shape", type(outputs).__name__)
            raise ValueError(f"`model` must have a single 4D output. Received: {found}")
        if data_format == "channels_first":
            outputs = keras.ops.transpose(outputs, (0, 2, 3, 1))
        _, height, width, channels = outputs.shape
        if channel is not None:
            check_index(channel, channels, "channel")
        pixel = outputs[:, height // 2, width // 2]
        return pixel if channel is None else pixel[:, channel]

    def weighted(outputs):
        pixel = central(outputs)
        return pixel * keras.ops.cast(keras.ops.arange(1, pixel.shape[-1] + 1), pixel.dtype)

    def field(select):
        gradient = np.abs(_input_gradient(model, inputs, select).astype(np.float64))
        return gradient.sum(axis=channel_axis(data_format)).mean(axis=0)

    found = field(central)
    if channel is None and found.max() < _ROUNDING * field(weighted).max():
        raise ValueError(
            "The sum of the output channels of `model` must depend on the inputs. It is constant, "
            "as after a softmax: pass a model that ends in logits, or `channel`. Received: "
            "channel=None"
        )
    return found


def _check_input_dtypes(model) -> None:
    """Raises a `ValueError` if an input of a functional model has no gradient."""
    for tensor in getattr(model, "inputs", None) or []:
        if "float" not in keras.backend.standardize_dtype(tensor.dtype):
            raise ValueError(
                f"`model` must have floating inputs. Received: an input of type {tensor.dtype}"
            )


def _input_gradient(model, inputs: np.ndarray, select) -> np.ndarray:
    """Returns the gradient of `select(model(inputs))`, summed, with respect to the inputs."""

    def total(images):
        # In inference mode images do not affect each other's outputs, so that the gradient of the
        # sum over the batch contains the gradient of each image.
        return keras.ops.sum(select(model(images, training=False)))

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
    # Not `backward`, which would add gradients to the model's weights.
    (gradient,) = torch.autograd.grad(value, images, allow_unused=True)
    return gradient


_GRADIENTS = {
    "tensorflow": _tensorflow_gradient,
    "jax": _jax_gradient,
    "torch": _torch_gradient,
}


def draw_receptive_field(field: np.ndarray) -> matplotlib.figure.Figure:
    """Draws an effective receptive field over the input image.

    The colour is `sqrt(field / field.max())`. The square root makes small values visible.

    Args:
        field: Array with shape `[height, width]`, from `effective_receptive_field`.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: If `field` is not 2D.

    Example:
    >>> field = np.random.uniform(size=(48, 48))  # Or from `effective_receptive_field`.
    >>> figure = tf_boxconv.visualize.draw_receptive_field(field)
    """
    field = np.asarray(field, np.float64)
    if field.ndim != 2:
        raise ValueError(
            f"`field` must have shape [height, width]. Received: field.shape={field.shape}"
        )
    figure = new_figure(5.0, 4.0)
    axes = figure.subplots()
    relative = np.sqrt(field / (field.max(initial=0.0) or 1.0))
    picture = axes.imshow(relative, cmap="magma", vmin=0.0, vmax=1.0)
    axes.set_xlabel("x in pixels of the input")
    axes.set_ylabel("y in pixels of the input")
    label = "effect on the central output pixel\n(square root, relative to the largest)"
    figure.colorbar(picture, ax=axes, shrink=0.85, label=label)
    return figure
