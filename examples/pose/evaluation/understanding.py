"""Draws what a network with boxes has learned: boxes, kernels, sizes, effective receptive field."""

import keras
import matplotlib.figure
import numpy as np

from examples.pose.training.run_folder import RunFolderError
from tf_boxconv import description, visualize
from tf_boxconv.layers.base_box_conv import BaseBoxConv2D
from tf_boxconv.visualize.box_drawing import plane_size

INPUTS = 64  # Number of photographs over which the receptive field is averaged.


def strongest_filter(mixing: np.ndarray) -> int:
    """Index of the filter with the largest norm of mixing weights `[boxes, filters]`."""
    return int(np.argmax(np.linalg.norm(mixing, axis=0)))


def draw_strongest_kernel(layer: BaseBoxConv2D) -> matplotlib.figure.Figure:
    """Draws the effective kernel of the filter with the largest mixing weights."""
    mixing = visualize.mixing_weights(layer)
    if mixing is None:
        raise RunFolderError(f"No 1x1 convolution mixes the boxes of layer {layer.name!r}.")
    index = strongest_filter(mixing)
    figure = visualize.draw_kernel(visualize.effective_kernel(layer, index, mixing))
    figure.axes[0].set_title(f"{layer.name}, filter {index}", fontsize=9)
    return figure


def draw(
    model: keras.Model, images: np.ndarray, layer_name: str | None = None
) -> dict[str, matplotlib.figure.Figure]:
    """Draws all figures of a model.

    Args:
        model: A pose network with box layers.
        images: `[n, S, S, 3]`, values 0 to 255, for the effective receptive field.
        layer_name: The layer whose kernel and histograms to draw. None chooses the layer with the
            largest boxes relative to its plane.

    Returns:
        Figures by name, one for each of `DRAWINGS`.

    Raises:
        RunFolderError: The model has no box layers, or none of this name.
    """
    layer = choose_layer(model, layer_name)
    field = visualize.effective_receptive_field(
        model, images.astype(np.float32), data_format="channels_last"
    )
    return {
        "boxes": visualize.draw_boxes(model),
        "kernel": draw_strongest_kernel(layer),
        "histograms": visualize.draw_histograms(layer),
        "receptive_field": visualize.draw_receptive_field(field),
    }


def choose_layer(model: keras.Model, name: str | None) -> BaseBoxConv2D:
    """Returns the box layer called `name`.

    If `name` is None, returns the layer with the largest boxes relative to its plane.

    Raises:
        RunFolderError: The model has no box layers, or none of this name.
    """
    box_layers = list(description.box_layers(model))
    names = [layer.name for layer in box_layers]
    if not box_layers:
        raise RunFolderError(f"The model {model.name!r} has no box layers.")
    if name is None:
        return max(box_layers, key=_relative_size)
    if name not in names:
        raise RunFolderError(f"--layer must be one of {', '.join(names)}, got {name}.")
    return box_layers[names.index(name)]


def _relative_size(layer: BaseBoxConv2D) -> float:
    return float(np.mean(visualize.box_sizes(layer) / plane_size(layer)))
