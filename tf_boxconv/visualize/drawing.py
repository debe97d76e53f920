"""Draws boxes, kernels and histograms of boxes as matplotlib figures, in pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tf_boxconv.layers.base_box_conv import BaseBoxConv2D
from tf_boxconv.visualize.kernels import box_offsets, box_sizes, boxes_array
from tf_boxconv.visualize.mixing_weights import mixing_weights

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

_BOX_COLOR = "#1f6fb4"
_CENTRE_COLOR = "#d1495b"


def new_figure(width: float, height: float) -> matplotlib.figure.Figure:
    """Returns a figure of a size in inches. It has no window and need not be closed."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def draw_boxes(
    layer: BaseBoxConv2D, weights: np.ndarray | str | None = "mixing", limit: int = 40
) -> matplotlib.figure.Figure:
    """Draws a layer's boxes around the output pixel.

    Boxes with larger weights are darker. The dashed frame has the size of the planes that the
    boxes are meant for (`max_size`) and is centred on the output pixel, which a cross marks.

    Args:
        layer: A built `DepthwiseBoxConv2D` or `BoxConv2D`.
        weights: The weight of each box, an array with shape `[channels, depth_multiplier]`.
            `"mixing"` uses the norms of the rows of `mixing_weights`, or equal weights if that
            returns `None`. `None` uses equal weights.
        limit: int, the largest number of boxes to draw. Draws those with the largest weights, or
            the first ones if all weights are equal.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: If `weights` is another string or has another size.
    """
    if isinstance(weights, str):
        if weights != "mixing":
            raise ValueError(
                f'`weights` must be "mixing", an array or None. Received: weights={weights!r}'
            )
        weights = box_weights(layer)
    figure = new_figure(4.2, 4.4)
    draw_boxes_into(figure.subplots(), boxes_array(layer), plane_size(layer), weights, limit)
    return figure


def box_weights(layer: BaseBoxConv2D) -> np.ndarray | None:
    """Returns the norm of each box's mixing weights, `[channels, depth_multiplier]`, if any."""
    mixing = mixing_weights(layer)
    shape = tuple(layer.boxes.shape[:2])
    return None if mixing is None else np.linalg.norm(mixing, axis=-1).reshape(shape)


def plane_size(layer: BaseBoxConv2D) -> tuple[float, float]:
    """Returns the size `(height, width)` of the planes that a layer's boxes are meant for."""
    return tuple(float(length) for length in layer._plane_size)


def draw_boxes_into(
    axes: matplotlib.axes.Axes,
    boxes: np.ndarray,
    size: tuple[float, float],
    weights: np.ndarray | None,
    limit: int = 40,
) -> None:
    """Draws boxes `[channels, depth_multiplier, 4]` into axes; see `draw_boxes`."""
    from matplotlib.patches import Rectangle

    boxes = boxes.reshape(-1, 4)
    strengths = np.full(len(boxes), 1.0) if weights is None else np.abs(np.ravel(weights))
    if len(strengths) != len(boxes):
        raise ValueError(
            f"`weights` must have a value for each of {len(boxes)} boxes. Received: "
            f"{len(strengths)} values"
        )
    # A stable sort keeps the order of equal weights. Reversed, so that the strongest is on top.
    shown = np.argsort(-strengths, kind="stable")[:limit][::-1]
    low, high = strengths.min(initial=np.inf), strengths.max(initial=0.0)
    for index in shown:
        y_min, x_min, y_max, x_max = boxes[index]
        share = (strengths[index] - low) / (high - low) if high > low else 0.6
        opacity = 0.05 + 0.9 * share**2
        axes.add_patch(
            Rectangle(
                (x_min, y_min),
                x_max - x_min,
                y_max - y_min,
                fill=False,
                edgecolor=_BOX_COLOR,
                alpha=opacity,
            )
        )
    height, width = size
    frame = Rectangle((-width / 2, -height / 2), width, height, fill=False, linestyle="--")
    axes.add_patch(frame)
    axes.plot(0, 0, "+", color=_CENTRE_COLOR, markersize=12, markeredgewidth=2)
    reach = 1.05 * max(size) / 2
    reach = max([reach, *(1.05 * np.abs(boxes[shown][np.isfinite(boxes[shown])]))])
    axes.set_xlim(-reach, reach)
    axes.set_ylim(reach, -reach)  # The y axis points down, as in images.
    axes.set_aspect("equal")
    axes.set_xlabel("pixels from the output pixel")


def draw_kernel(kernel: np.ndarray) -> matplotlib.figure.Figure:
    """Draws a kernel. Positive weights are red, negative blue; a cross marks the output pixel.

    Args:
        kernel: Array with shape `[height, width]` or `[height, width, channels]`, such as the
            result of `effective_kernel`. Draws the sum over the channels.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: If `kernel` is neither 2D nor 3D.
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
    figure = new_figure(4.6, 4.0)
    axes = figure.subplots()
    picture = axes.imshow(
        plane,
        cmap="RdBu_r",
        vmin=-largest,
        vmax=largest,
        extent=(-width / 2, width / 2, height / 2, -height / 2),
    )
    axes.plot(0, 0, "+", color="black", markersize=10)
    axes.set_xlabel("pixels from the output pixel")
    figure.colorbar(picture, ax=axes, shrink=0.85)
    return figure


def draw_histograms(layer: BaseBoxConv2D) -> matplotlib.figure.Figure:
    """Draws histograms of the heights, widths and offsets of a layer's boxes.

    Args:
        layer: A built `DepthwiseBoxConv2D` or `BoxConv2D`.

    Returns:
        A matplotlib figure.
    """
    figure = new_figure(7.0, 3.0)
    sizes, offsets = figure.subplots(1, 2)
    for axes, values, names, title in (
        (sizes, box_sizes(layer), ("height", "width"), "size, pixels"),
        (offsets, box_offsets(layer), ("y", "x"), "centre, pixels from the output pixel"),
    ):
        axes.hist([values[..., 0].ravel(), values[..., 1].ravel()], bins=20, label=names)
        axes.set_xlabel(title)
        axes.set_ylabel("boxes")
        axes.legend()
    return figure


def to_pixels(figure: matplotlib.figure.Figure, dpi: int = 100) -> np.ndarray:
    """Renders a figure as uint8 RGB `[height, width, 3]`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
