"""Draws docs/images/box.png: a box around an output pixel, and the weight of each pixel under it.

python docs/figures/box.py
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

BOX = (-1.7, -2.3, 1.2, 3.4)  # y_min, x_min, y_max, x_max in pixels
ROWS, COLUMNS = np.arange(-3, 4), np.arange(-4, 6)
BLUE, ORANGE = "#1f77b4", "#d95f02"


def coverage(low: float, high: float, pixels: np.ndarray) -> np.ndarray:
    """Length of each pixel that lies between two edges."""
    return np.clip(np.minimum(pixels + 0.5, high) - np.maximum(pixels - 0.5, low), 0, 1)


def draw(path: Path) -> None:
    """Writes the picture."""
    y_min, x_min, y_max, x_max = BOX
    weights = np.outer(coverage(y_min, y_max, ROWS), coverage(x_min, x_max, COLUMNS))
    figure, axes = plt.subplots(figsize=(5.2, 4.0), dpi=160, layout="constrained")
    axes.pcolormesh(
        COLUMNS, ROWS, weights, cmap="Blues", vmin=0, vmax=1.7, edgecolors="0.75", linewidth=0.6
    )
    for (i, j), weight in np.ndenumerate(weights):
        if weight:
            axes.text(COLUMNS[j], ROWS[i], f"{weight:.2g}", ha="center", va="center", fontsize=8)
    axes.add_patch(
        Rectangle((x_min, y_min), x_max - x_min, y_max - y_min, fill=False, edgecolor=BLUE, lw=2.5)
    )
    axes.add_patch(Rectangle((-0.5, -0.5), 1, 1, fill=False, edgecolor=ORANGE, lw=2.5))
    style = {"ha": "center", "va": "center", "fontsize": 9, "color": BLUE}
    middle = (x_min + x_max) / 2, (y_min + y_max) / 2
    axes.text(middle[0], np.floor(y_min + 0.5) - 0.8, f"y_min = {y_min}", **style)
    axes.text(middle[0], np.ceil(y_max - 0.5) + 0.8, f"y_max = {y_max}", **style)
    axes.text(np.floor(x_min + 0.5) - 0.8, middle[1], f"x_min = {x_min}", rotation=90, **style)
    axes.text(np.ceil(x_max - 0.5) + 0.8, middle[1], f"x_max = {x_max}", rotation=90, **style)
    axes.annotate(
        "output pixel",
        (0, 0.5),
        (-2.6, 2.8),
        color=ORANGE,
        fontsize=9,
        ha="center",
        arrowprops={"arrowstyle": "-", "color": ORANGE},
    )
    axes.set_xlabel("x in pixels from the output pixel")
    axes.set_ylabel("y in pixels from the output pixel")
    axes.set_xticks(COLUMNS)
    axes.set_yticks(ROWS)
    axes.invert_yaxis()
    axes.set_aspect("equal")
    axes.set_title("Numbers: the part of each pixel under the box", fontsize=9)
    figure.savefig(path)


if __name__ == "__main__":
    draw(Path(__file__).parents[1] / "images" / "box.png")
