"""Draws the times of a suite as a picture."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

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


def draw(suite: Suite, runs: list[Run], path: Path) -> None:
    """Draws one panel for each run of a suite and writes the picture."""
    wide = suite.axis is None
    figure, panels = plt.subplots(
        *((len(runs), 1) if wide else (1, len(runs))),
        figsize=(11, 4.5 * len(runs)) if wide else (6 * len(runs), 5),
        squeeze=False,
        layout="constrained",
    )
    for panel, run in zip(panels.flat, runs, strict=True):
        if wide:
            _draw_cases(panel, results.rows(run))
        else:
            _draw_lines(panel, suite, results.rows(run))
        panel.set_title(run.pass_name)
        panel.grid(alpha=0.3)
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize="small")
    title = f"{suite.title}, {suite.entries[0].case}" if suite.over_size else suite.title
    figure.suptitle(f"{title}, {threads_text(runs[0].threads)}")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _draw_lines(panel: Axes, suite: Suite, rows: list[Row]) -> None:
    # If the kernel size is the axis, a line is an operator; otherwise an operator of one size.
    lines: dict[str, list[Row]] = {}
    for row in rows:
        candidate = row.key.candidate
        name = candidate.operator if suite.over_size else str(candidate)
        lines.setdefault(name, []).append(row)
    ticks = set()
    for name, points in lines.items():
        operator = points[0].key.candidate.operator
        color, marker = _STYLES[operator]
        style = {"color": color, "label": name, "linewidth": 2.5 if operator == "box" else 1.2}
        x = [suite.axis(row.key.case, row.key.candidate) for row in points]
        y = [
            row.milliseconds.median if suite.over_size else row.nanoseconds_per_output
            for row in points
        ]
        if x == [None]:
            panel.axhline(y[0], linestyle=":", **style)
        else:
            panel.plot(x, y, marker=marker, **style)
            ticks.update(x)
    panel.set(xscale="log", yscale="log", xlabel=suite.axis_label)
    panel.set_ylabel("milliseconds" if suite.over_size else "nanoseconds per output")
    panel.set_xticks(sorted(ticks), [str(tick) for tick in sorted(ticks)])
    panel.xaxis.minorticks_off()


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
    panel.set_yscale("log")
    panel.set_ylabel("nanoseconds per output")
    panel.set_xticks(range(len(cases)), [str(case).replace(", ", "\n") for case in cases])
    panel.margins(x=0.1)
