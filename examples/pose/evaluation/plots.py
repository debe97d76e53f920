"""Plots of PCK: over the tolerance, by joint, and during training."""

import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import matplotlib.figure

from examples.pose.evaluation import metrics
from examples.pose.files.atomic_write import atomic_write
from examples.pose.images.drawing import SIDE_COLORS, joint_side

_NEUTRAL_COLOR = "#555555"


def draw_curve(result: Mapping[str, Any], name: str) -> matplotlib.figure.Figure:
    """Plots a metric over the tolerance, with the area under the curve.

    Args:
        result: The result of `metrics.summary`.
        name: Name of the metric, `"pck"` or `"pckh"`.
    """
    curve = result[f"{name}_curve"]
    figure = matplotlib.figure.Figure(figsize=(5, 3.6), layout="constrained")
    axes = figure.subplots()
    values = [float("nan") if value is None else value for value in curve[name]]
    axes.plot(curve["thresholds"], values, color=_NEUTRAL_COLOR)
    axes.fill_between(curve["thresholds"], values, color=_NEUTRAL_COLOR, alpha=0.12)
    area, percentage = (_text(result[key]) for key in (f"{name}_auc", name))
    title = f"{metrics.heading(name)} {percentage}, area under the curve {area}"
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("tolerance, as a fraction of the reference length")
    axes.set_ylabel("joints found, %")
    axes.set_xlim(0, curve["thresholds"][-1])
    axes.set_ylim(0, 100)
    axes.grid(alpha=0.3)
    return figure


def draw_joints(result: Mapping[str, Any], name: str) -> matplotlib.figure.Figure:
    """Plots a bar for each joint, in the colour of the person's side, and a line for the mean.

    Args:
        result: The result of `metrics.summary`.
        name: Name of the metric, `"pck"` or `"pckh"`.
    """
    per_joint = result[f"{name}_per_joint"]
    figure = matplotlib.figure.Figure(
        figsize=(5, 0.9 + 0.24 * len(per_joint)), layout="constrained"
    )
    axes = figure.subplots()
    colors = [joint_side(joint) for joint in per_joint]
    axes.barh(
        [joint.replace("_", " ") for joint in per_joint],
        [value or 0.0 for value in per_joint.values()],
        color=[_NEUTRAL_COLOR if c == "centre" else _rgb(SIDE_COLORS[c]) for c in colors],
    )
    for position, value in enumerate(per_joint.values()):
        axes.text((value or 0.0) + 1, position, _text(value), va="center", fontsize=8)
    if result[name] is not None:
        axes.axvline(result[name], color="black", linewidth=1, linestyle="--")
    axes.set_title(
        f"{metrics.heading(name)} by joint; all joints {_text(result[name])}", fontsize=10
    )
    axes.set_xlim(0, 108)
    axes.invert_yaxis()
    axes.set_xlabel("found, %")
    return figure


def draw_progress(
    runs: Mapping[str, tuple[Sequence[int], Sequence[float]]], dashed: Collection[str] = ()
) -> matplotlib.figure.Figure:
    """Plots the PCK of networks during training.

    Args:
        runs: Maps the name of a network to step numbers and the PCK@0.2 in percent at these steps.
        dashed: Names of networks to draw with dashed lines.
    """
    figure = matplotlib.figure.Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, (steps, values) in runs.items():
        axes.plot(steps, values, label=name, linestyle="--" if name in dashed else "-")
    axes.set_xlabel("steps")
    axes.set_ylabel(f"{metrics.heading('pck')} in training, without flip test, %")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def write(figure: matplotlib.figure.Figure, path: pathlib.Path) -> None:
    """Writes a figure atomically, in the format that the path's suffix names."""
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=120, format=path.suffix.lstrip("."))


def _rgb(color: tuple[int, int, int]) -> tuple[float, ...]:
    return tuple(channel / 255 for channel in color)


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
