"""Draws kernels and histograms of boxes as matplotlib figures, in pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tf_boxconv.layers.base_box_conv import BaseBoxConv2D
from tf_boxconv.visualize.kernels import box_offsets, box_sizes

if TYPE_CHECKING:
    import matplotlib.figure

CENTRE_COLOR = "#d1495b"


def new_figure(width: float, height: float) -> matplotlib.figure.Figure:
    """Returns a figure of a size in inches. It has no window and need not be closed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    # With the default padding, matplotlib 3.10 cuts off labels of some figures with a colour bar.
    figure.get_layout_engine().set(w_pad=0.15)
    return figure


def draw_kernel(kernel: np.ndarray) -> matplotlib.figure.Figure:
    """Draws a kernel around the output pixel.

    Positive weights are red, negative ones blue. A cross marks the output pixel.

    Args:
        kernel: Array with shape `[height, width]` or `[height, width, channels]`, such as the
            result of `effective_kernel`. Draws the sum over the channels.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: If `kernel` is neither 2D nor 3D.

    Example:
    >>> layer = tf_boxconv.layers.BoxConv2D(8)
    >>> layer.build((None, 48, 48, 3))
    >>> kernel = tf_boxconv.visualize.effective_kernel(layer, 0)
    >>> figure = tf_boxconv.visualize.draw_kernel(kernel)
    """
    kernel = np.asarray(kernel, np.float64)
    if kernel.ndim not in (2, 3):
        raise ValueError(
            "`kernel` must have shape [height, width] or [height, width, channels]. Received: "
            f"kernel.shape={kernel.shape}"
        )
    plane = kernel if kernel.ndim == 2 else kernel.sum(axis=-1)
    height, width = plane.shape
    largest = np.abs(plane).max(initial=0.0) or 1.0
    figure = new_figure(5.0, 4.4)
    axes = figure.subplots()
    picture = axes.imshow(
        plane,
        cmap="RdBu_r",
        vmin=-largest,
        vmax=largest,
        extent=(-width / 2, width / 2, height / 2, -height / 2),
    )
    axes.plot(0, 0, "+", color="black", markersize=10, label="output pixel")
    axes.set_xlabel("x in pixels from the output pixel")
    axes.set_ylabel("y in pixels from the output pixel")
    summed = " (sum over channels)" if kernel.ndim == 3 else ""
    figure.colorbar(picture, ax=axes, shrink=0.85, label=f"weight of the pixel{summed}")
    figure.legend(loc="outside lower center", frameon=False)
    return figure


def draw_histograms(layer: BaseBoxConv2D) -> matplotlib.figure.Figure:
    """Draws histograms of the sizes and centres of a layer's boxes, in pixels.

    The left histogram counts heights and widths, the right one the coordinates of the centres,
    relative to the output pixel. Infinite and NaN values are not counted.

    Args:
        layer: A built `DepthwiseBoxConv2D` or `BoxConv2D`.

    Returns:
        A matplotlib figure.

    Raises:
        TypeError: If `layer` is not a box layer.

    Example:
    >>> layer = tf_boxconv.layers.BoxConv2D(8)
    >>> layer.build((None, 48, 48, 3))
    >>> figure = tf_boxconv.visualize.draw_histograms(layer)
    """
    figure = new_figure(7.2, 3.4)
    grid = figure.subplots(1, 2)
    for axes, values, names, label in (
        (grid[0], box_sizes(layer), ("height", "width"), "size of the box in pixels"),
        (
            grid[1],
            box_offsets(layer),
            ("y (downwards)", "x (to the right)"),
            "centre of the box in pixels from the output pixel",
        ),
    ):
        values = values.reshape(-1, 2).T
        axes.hist([line[np.isfinite(line)] for line in values], bins=20, label=names)
        axes.set_xlabel(label)
        axes.locator_params(axis="x", nbins=4)  # More labels of large numbers would overlap.
        axes.set_ylabel("number of boxes")
        axes.yaxis.get_major_locator().set_params(integer=True)
        # Above the axes, where it hides no bar.
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    figure.suptitle(layer.name, fontsize=10)
    return figure


def to_pixels(figure: matplotlib.figure.Figure, dpi: int = 100) -> np.ndarray:
    """Renders a figure as uint8 RGB `[height, width, 3]`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
