"""Draws the times of a suite as a picture."""

from __future__ import annotations

import collections
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from benchmarks import results
from benchmarks.results import Row, Run
from benchmarks.suites import Suite
from benchmarks.tables import threads_text

# Colour and marker of each operator, the same in all pictures.
_STYLES = {
    "box": ("tab:red", "o"),
    "box, random": ("tab:pink", "D"),
    "depthwise": ("tab:blue", "s"),
    "average pool": ("tab:cyan", "^"),
    "portable": ("tab:green", "v"),
    "cumsum+gather": ("tab:olive", "P"),
    "OpenCV boxFilter": ("tab:orange", "X"),
    "OpenCV integral": ("tab:brown", "*"),
    "copy": ("tab:gray", "."),
}


# Line style and paleness of the first, second and third line of an operator.
_SHADES = (("-", 0.0), ("--", 0.3), (":", 0.55))


def draw(suite: Suite, runs: list[Run], path: Path) -> None:
    """Draws one panel for each run of a suite and writes the picture."""
    wide = suite.axis is None
    figure, panels = plt.subplots(
        *((len(runs), 1) if wide else (1, len(runs))),
        # Small figures, so that the text is large where a page shows them small.
        figsize=(11, 4.5 * len(runs)) if wide else (3.6 * len(runs), 4.2),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for panel, run in zip(panels.flat, runs, strict=True):
        if wide:
            _draw_cases(panel, results.rows(run))
        else:
            _draw_lines(panel, suite, results.rows(run))
        panel.set(title=run.pass_name, yscale="log")
        panel.yaxis.set_major_formatter("{x:g}")
        panel.grid(alpha=0.3)
    for panel in panels[:, 0]:
        panel.set_ylabel("nanoseconds per output")
    handles, labels = panels.flat[0].get_legend_handles_labels()
    columns = 5 if wide else 2 if len(handles) < 7 else 3
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)
    cases = {entry.case for entry in suite.entries}
    title = f"{suite.title}, {cases.pop()}" if len(cases) == 1 else suite.title
    figure.suptitle(f"{title}, {threads_text(runs[0].threads)}")
    figure.savefig(path, dpi=175)
    plt.close(figure)


def _draw_lines(panel: Axes, suite: Suite, rows: list[Row]) -> None:
    lines: dict[str, list[Row]] = {}
    for row in rows:
        name = suite.line(row.key.case, row.key.candidate)
        if name is not None:
            lines.setdefault(name, []).append(row)
    ticks = set()
    drawn: collections.Counter[str] = collections.Counter()
    # In the legend the lines of an operator follow each other.
    for name, points in sorted(lines.items(), key=lambda line: _rank(line[1])):
        operator = points[0].key.candidate.operator
        color, marker = _STYLES[operator]
        dashes, paleness = _SHADES[drawn[operator] % len(_SHADES)]
        drawn[operator] += 1
        style = {
            "color": 1 - (1 - np.array(to_rgb(color))) * (1 - paleness),
            "label": name,
            "linewidth": 2.5 if operator == "box" else 1.2,
        }
        x = [suite.axis(row.key.case, row.key.candidate) for row in points]
        y = [row.nanoseconds_per_output for row in points]
        if x == [None]:
            panel.axhline(y[0], linestyle=":", **style)
        else:
            panel.plot(x, y, marker=marker, linestyle=dashes, **style)
            ticks.update(x)
    panel.set(xscale="log", xlabel=suite.axis_label)
    # More than eight labels would touch each other.
    shown = sorted(ticks)[:: 1 + len(ticks) // 9]
    panel.set_xticks(shown, [str(tick) for tick in shown])
    panel.xaxis.minorticks_off()


def _rank(points: list[Row]) -> int:
    return list(_STYLES).index(points[0].key.candidate.operator)


def _draw_cases(panel: Axes, rows: list[Row]) -> None:
    cases = list(dict.fromkeys(row.key.case for row in rows))
    for candidate in dict.fromkeys(row.key.candidate for row in rows):
        points = [row for row in rows if row.key.candidate == candidate]
        color, marker = _STYLES[candidate.operator]
        panel.plot(
            [cases.index(row.key.case) for row in points],
            [row.nanoseconds_per_output for row in points],
            label=str(candidate),
            color=color,
            marker=marker,
            markersize=8,
            linestyle="none",
            # Sizes of one operator share colour and marker and differ in the filling.
            fillstyle="full" if candidate.size in (None, 3, 31) else "none",
        )
    panel.set_xticks(range(len(cases)), [str(case).replace(", ", "\n") for case in cases])
    panel.margins(x=0.1)
