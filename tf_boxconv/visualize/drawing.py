"""Pictures of a layer's boxes and of kernels, as matplotlib figures."""

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
    """A figure of a size in inches that belongs to no window and need not be closed."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def draw_boxes(
    layer: BaseBoxConv2D, weights: np.ndarray | str | None = "mixing", limit: int = 40
) -> matplotlib.figure.Figure:
    """Draws a layer's boxes where they lie around the output pixel.

    A box that counts for more is drawn darker. The dashed frame is the size of the planes that the
    boxes are meant for (`max_size`), with its middle on the output pixel.

    Args:
        layer: A built `DepthwiseBoxConv2D` or `BoxConv2D`.
        weights: How much each box counts: `[channels, depth_multiplier]`; `"mixing"` for the
            lengths of the rows of `mixing_weights`, if there are any; None to draw all alike.
        limit: Of more boxes than that those that count for most are drawn, or, drawn alike, the
            first ones.

    Returns:
        A matplotlib figure.
    """
    if isinstance(weights, str):
        if weights != "mixing":
            raise ValueError(f'`weights` must be "mixing", an array or None, got {weights!r}.')
        weights = box_weights(layer)
    figure = new_figure(4.2, 4.4)
    draw_boxes_into(figure.subplots(), boxes_array(layer), plane_size(layer), weights, limit)
    return figure


def box_weights(layer: BaseBoxConv2D) -> np.ndarray | None:
    """How much each box counts for the filters that mix it, `[channels, depth_multiplier]`."""
    mixing = mixing_weights(layer)
    shape = tuple(layer.boxes.shape[:2])
    return None if mixing is None else np.linalg.norm(mixing, axis=-1).reshape(shape)


def plane_size(layer: BaseBoxConv2D) -> tuple[float, float]:
    """The size `(height, width)` of the planes that a layer's boxes are meant for."""
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
            f"`weights` must have a value for each of {len(boxes)} boxes, got {len(strengths)}."
        )
    # The sort is stable: where all count alike the first ones come first. The strongest on top.
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
    axes.set_ylim(reach, -reach)  # Down is down in the image.
    axes.set_aspect("equal")
    axes.set_xlabel("pixels from the output pixel")


def draw_kernel(kernel: np.ndarray) -> matplotlib.figure.Figure:
    """Draws a kernel: red adds, blue subtracts; a cross marks the output pixel.

    Args:
        kernel: `[height, width]`, or `[height, width, channels]`, of which the sum over the
            channels is drawn.

    Returns:
        A matplotlib figure.
    """
    kernel = np.asarray(kernel, np.float64)
    if kernel.ndim not in (2, 3):
        raise ValueError(
            f"`kernel` must be [height, width] or [height, width, channels], got shape "
            f"{list(kernel.shape)}."
        )
    plane = kernel if kernel.ndim == 2 else kernel.sum(axis=-1)
    height, width = plane.shape
    most = np.abs(plane).max(initial=0.0) or 1.0
    figure = new_figure(4.6, 4.0)
    axes = figure.subplots()
    picture = axes.imshow(
        plane,
        cmap="RdBu_r",
        vmin=-most,
        vmax=most,
        extent=(-width / 2, width / 2, height / 2, -height / 2),
    )
    axes.plot(0, 0, "+", color="black", markersize=10)
    axes.set_xlabel("pixels from the output pixel")
    figure.colorbar(picture, ax=axes, shrink=0.85)
    return figure


def draw_histograms(layer: BaseBoxConv2D) -> matplotlib.figure.Figure:
    """Draws how many of a layer's boxes have which height, width and place of their middle.

    Args:
        layer: A built `DepthwiseBoxConv2D` or `BoxConv2D`.

    Returns:
        A matplotlib figure.
    """
    figure = new_figure(7.0, 3.0)
    sizes, offsets = figure.subplots(1, 2)
    for axes, values, names, title in (
        (sizes, box_sizes(layer), ("height", "width"), "size, pixels"),
        (offsets, box_offsets(layer), ("down", "right"), "middle, pixels from the output pixel"),
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
