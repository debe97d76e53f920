"""Draws the boxes of layers around the output pixel, with a panel for each layer.

A box's colour shows its weight as a share of the layer's largest weight, so one colour bar holds
for all panels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import keras
import numpy as np

from tf_boxconv.layers.base_box_conv import BaseBoxConv2D
from tf_boxconv.ops.arguments import standardize_count
from tf_boxconv.visualize.drawing import CENTRE_COLOR, new_figure
from tf_boxconv.visualize.kernels import boxes_array
from tf_boxconv.visualize.layer_names import find_boxes, named_box_layers
from tf_boxconv.visualize.mixing_weights import mixing_weights

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

_BOX_COLOR = "#1f6fb4"
_COLUMNS = 4
_BOXES_PER_PANEL = 8  # More outlines are hard to tell apart.
_TITLE_LENGTH = 34  # Characters that fit above a panel.
# The share that every box gets if there are no weights. It sets only their opacity.
_EQUAL_WEIGHTS_SHARE = 0.6


def draw_boxes(
    layer: keras.Layer,
    weights: np.ndarray | str | None = "mixing",
    limit: int = _BOXES_PER_PANEL,
    initial_boxes: Mapping[str, np.ndarray] | np.ndarray | None = None,
) -> matplotlib.figure.Figure:
    """Draws the boxes of a layer or of a whole model around the output pixel.

    Each box layer has a panel with its name as the title. The axes are in pixels of the layer's
    input, relative to the output pixel, which a cross marks. A dashed frame, centred on it, has
    the size of the inputs that the boxes are meant for (`max_size`). Boxes may leave the frame:
    their edges may move up to `max_size` from the cross, twice as far as the frame.

    Boxes with larger weights are darker; weights are relative to the largest one of their layer.
    Empty boxes are not drawn. If boxes are left out, the title says how many are drawn. It also
    says "equal weights" if no weights are known.

    Args:
        layer: A built `DepthwiseBoxConv2D` or `BoxConv2D`, or a model or layer that contains some.
        weights: The weight of each box. `"mixing"` uses the norms of the rows of `mixing_weights`,
            or equal weights if that returns `None`. `None` uses equal weights. With a single box
            layer it may also be an array with shape `[channels, depth_multiplier]`.
        limit: int, the largest number of boxes to draw in a panel. Draws those with the largest
            weights, or the first ones if all weights are equal.
        initial_boxes: The boxes before training, in pixels: a dict from names of layers to arrays
            with shape `[channels, depth_multiplier, 4]`, such as `boxes_by_layer` returns and
            `BoxLogger` stores. With a single box layer, the array alone is accepted too. They are
            drawn in a panel to the left of the learned boxes. Each has the colour of its learned
            box. `None` draws the learned boxes only.

    Returns:
        A matplotlib figure.

    Raises:
        TypeError: If `layer` is not a Keras layer.
        ValueError: If `layer` has no built box layers, if `weights` is a string other than
            `"mixing"` or an array without one value per box, or if `initial_boxes` lacks a layer or
            has a wrong shape. Also if one of them is an array and there are several box layers.

    Example:
    >>> model = keras.Sequential(
    ...     [keras.Input((48, 48, 3)), tf_boxconv.layers.BoxConv2D(8, name="context")]
    ... )
    >>> initial_boxes = tf_boxconv.visualize.boxes_by_layer(model)
    >>> model.fit(...)  # doctest: +SKIP
    >>> figure = tf_boxconv.visualize.draw_boxes(model, initial_boxes=initial_boxes)
    >>> figure.savefig("boxes.png")  # doctest: +SKIP
    """
    named, limit = named_box_layers(layer), standardize_count(limit, "limit")
    if isinstance(weights, str) and weights != "mixing":
        raise ValueError(
            f'`weights` must be "mixing", an array or None. Received: weights={weights!r}'
        )
    if len(named) > 1:
        _check_arguments_of_several_layers(named, weights, initial_boxes)
    panels = []
    for name, box_layer in named.items():
        # The layer may be part of other models too.
        model = None if box_layer is layer else layer
        values = box_weights(box_layer, model) if isinstance(weights, str) else weights
        learned = Panel(name, boxes_array(box_layer), values, plane_size(box_layer))
        if initial_boxes is None:
            panels.append(learned)
        else:
            panels += _before_and_after(learned, _initial(initial_boxes, name, box_layer), limit)
    return draw_panels(panels, min(_COLUMNS, len(panels)), limit)


def _check_arguments_of_several_layers(named, weights, initial_boxes) -> None:
    if weights is not None and not isinstance(weights, str):
        raise ValueError(
            f'`weights` must be "mixing" or None for the {len(named)} box layers of a model. '
            "Received: an array"
        )
    if initial_boxes is not None and not isinstance(initial_boxes, Mapping):
        raise ValueError(
            f"For a model with {len(named)} box layers, `initial_boxes` must be a dict from layer "
            "names to boxes. Received: an array"
        )


def _initial(initial_boxes, name: str, layer: BaseBoxConv2D) -> np.ndarray:
    """Returns the initial boxes of one layer."""
    found = initial_boxes
    if isinstance(initial_boxes, Mapping):
        found = find_boxes(initial_boxes, name, layer)
        if found is None:
            raise ValueError(
                f"`initial_boxes` must have boxes for layer '{name}'. Received: boxes for "
                f"{list(initial_boxes)}"
            )
    found = np.asarray(keras.ops.convert_to_numpy(found), np.float64)
    if found.shape != tuple(layer.boxes.shape):
        raise ValueError(
            f"`initial_boxes` must have shape {tuple(layer.boxes.shape)} for layer '{name}'. "
            f"Received: shape {found.shape}"
        )
    return found


def box_weights(layer: BaseBoxConv2D, model: keras.Model | None = None) -> np.ndarray | None:
    """Returns the norm of each box's mixing weights, `[channels, depth_multiplier]`, if any.

    Arguments are as for `mixing_weights`.
    """
    mixing = mixing_weights(layer, model)
    shape = tuple(layer.boxes.shape[:2])
    return None if mixing is None else np.linalg.norm(mixing, axis=-1).reshape(shape)


def plane_size(layer: BaseBoxConv2D) -> tuple[float, float]:
    """Returns the size `(height, width)` of the planes that a layer's boxes are meant for."""
    return tuple(float(length) for length in layer._plane_size)


class Panel(NamedTuple):
    """The contents of one panel of a figure."""

    name: str  # Of the layer.
    boxes: np.ndarray  # [channels, depth_multiplier, 4], in pixels.
    weights: np.ndarray | None  # [channels, depth_multiplier]. None: equal weights.
    plane_size: tuple[float, float]
    reach: float = 0.0  # The axes show at least -reach to reach, in pixels.
    stage: str = ""  # "initial" or "learned" if a figure shows both.


def reach(size: tuple[float, float], *boxes: np.ndarray) -> float:
    """Returns the half width of axes that hold a plane and all finite edges, with a margin."""
    edges = np.abs(np.concatenate([np.ravel(some) for some in boxes]))
    return 1.05 * max(max(size) / 2, edges[np.isfinite(edges)].max(initial=0.0))


def _before_and_after(learned: Panel, initial: np.ndarray, limit: int) -> list[Panel]:
    boxes = np.stack([learned.boxes, initial]).reshape(2, -1, 4)
    drawn = _heaviest(_shares(learned.weights, boxes.shape[1]), limit)
    shared = learned._replace(reach=reach(learned.plane_size, boxes[:, drawn]))
    return [
        shared._replace(stage="initial", boxes=initial),
        shared._replace(stage="learned"),
    ]


def draw_panels(
    panels: Sequence[Panel],
    columns: int,
    limit: int = _BOXES_PER_PANEL,
    heading: str | None = None,
) -> matplotlib.figure.Figure:
    """Draws panels in rows, with the legend and the colour bar outside; see `draw_boxes`."""
    rows = -(-len(panels) // columns)
    has_weights = any(panel.weights is not None for panel in panels)
    side = 4.2 if len(panels) == 1 else 3.2
    figure = new_figure(side * columns + 0.8 * has_weights, (side + 0.1) * rows + 0.5)
    grid = figure.subplots(rows, columns, squeeze=False)
    for index, axes in enumerate(grid.ravel()):
        if index >= len(panels):
            axes.set_axis_off()
            continue
        _draw_panel(axes, panels[index], limit)
        if index % columns == 0:
            axes.set_ylabel("y in pixels from the output pixel", fontsize=9)
        if index + columns >= len(panels):
            axes.set_xlabel("x in pixels from the output pixel", fontsize=9)
    if heading is not None:
        figure.suptitle(heading, fontsize=10)
    _add_legend(figure)
    if has_weights:
        _add_color_bar(figure, list(grid.ravel()))
    return figure


def _draw_panel(axes: matplotlib.axes.Axes, panel: Panel, limit: int) -> None:
    from matplotlib.patches import Rectangle

    boxes = panel.boxes.reshape(-1, 4)
    shares = _shares(panel.weights, len(boxes))
    heaviest = _heaviest(shares, limit)
    half = max(panel.reach, reach(panel.plane_size, boxes[heaviest]))
    drawn = 0
    for index in heaviest[::-1]:  # The heaviest is on top.
        # Infinite edges are moved to a finite position outside the axes.
        y_min, x_min, y_max, x_max = np.clip(boxes[index], -2 * half, 2 * half)
        if not (y_max > y_min and x_max > x_min):
            continue
        drawn += 1
        axes.add_patch(
            Rectangle(
                (x_min, y_min),
                x_max - x_min,
                y_max - y_min,
                fill=False,
                edgecolor=_BOX_COLOR,
                alpha=_opacity(shares[index]),
            )
        )
    height, width = panel.plane_size
    axes.add_patch(Rectangle((-width / 2, -height / 2), width, height, fill=False, linestyle="--"))
    axes.plot(0, 0, "+", color=CENTRE_COLOR, markersize=12, markeredgewidth=2)
    axes.set_xlim(-half, half)
    axes.set_ylim(half, -half)  # The y axis points down, as in images.
    axes.set_aspect("equal")
    axes.set_title(_title(panel, drawn, len(boxes)), fontsize=9)


def _title(panel: Panel, drawn: int, total: int) -> str:
    """Returns the name of the layer, and a line like `"8 of 256 learned boxes, equal weights"`."""
    words = [] if drawn == total else [f"{drawn} of {total}"]
    words += [panel.stage] if panel.stage else []
    notes = [" ".join([*words, "boxes"])] if words else []
    notes += ["equal weights"] if panel.weights is None else []
    return "\n".join([*_wrapped(panel.name), *([", ".join(notes)] if notes else [])])


def _wrapped(name: str) -> list[str]:
    """Breaks a long name of a layer into lines, after "/" and "_"."""
    lines = [""]
    for part in re.split("(?<=[/_])", name):
        if lines[-1] and len(lines[-1] + part) > _TITLE_LENGTH:
            lines.append("")
        lines[-1] += part
    return lines


def _shares(weights: np.ndarray | None, count: int) -> np.ndarray:
    """Returns each box's weight as a share of the largest; NaN and infinite weights count as 0."""
    if weights is None:
        return np.full(count, _EQUAL_WEIGHTS_SHARE)
    weights = np.abs(np.ravel(np.asarray(weights, np.float64)))
    if len(weights) != count:
        raise ValueError(
            f"`weights` must have a value for each of {count} boxes. Received: "
            f"{len(weights)} values"
        )
    weights = np.where(np.isfinite(weights), weights, 0.0)
    return weights / (weights.max(initial=0.0) or 1.0)


def _heaviest(shares: np.ndarray, limit: int) -> np.ndarray:
    """Returns the indices of the boxes to draw. Boxes of equal weight keep their order."""
    return np.argsort(-shares, kind="stable")[:limit]


def _opacity(share: float | np.ndarray) -> float | np.ndarray:
    return 0.1 + 0.85 * share**2


def _add_legend(figure: matplotlib.figure.Figure) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [
        Line2D([], [], color=CENTRE_COLOR, marker="+", linestyle="", markersize=9, mew=2),
        Patch(fill=False, edgecolor=_BOX_COLOR),
        Patch(fill=False, linestyle="--"),
    ]
    labels = ["output pixel", "box", "input size (max_size)"]
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)


def _add_color_bar(figure: matplotlib.figure.Figure, axes: list[matplotlib.axes.Axes]) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize, to_rgb

    opacity = _opacity(np.linspace(0.0, 1.0, 256))[:, None]
    colors = ListedColormap(1.0 - opacity * (1.0 - np.array(to_rgb(_BOX_COLOR))))
    bar = figure.colorbar(ScalarMappable(Normalize(0.0, 1.0), colors), ax=axes, aspect=30)
    bar.set_label("weight of the box / largest weight in its layer", fontsize=9)
