"""Writes the tiny stand-ins for `lsp` and `lspet` that their tests read, with drawn figures.

python -m examples.pose.datasets.write_dummy_data
"""

from __future__ import annotations

import pathlib

import numpy as np
import scipy.io

from examples.pose.datasets.pose_features import NOT_LABELLED, VISIBLE
from examples.pose.datasets.stick_figures.figure import Figure, draw_figure

_IMAGE_SIZE = 40


def _write(folder: pathlib.Path, figures: list[Figure], joints: np.ndarray, digits: int) -> None:
    """Writes one data set in the official layout."""
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    for number, figure in enumerate(figures, start=1):
        (images / f"im{number:0{digits}d}.jpg").write_bytes(figure.to_jpeg().getvalue())
    scipy.io.savemat(folder / "joints.mat", {"joints": joints}, do_compression=True)


def _figures(cut_off: bool, count: int) -> list[Figure]:
    """Draws figures with hidden joints, of which some (or none) are outside the image."""
    figures = (draw_figure(0, "dummy", index, _IMAGE_SIZE) for index in range(1000))
    wanted = (
        figure
        for figure in figures
        if (figure.visibility == NOT_LABELLED).any() == cut_off
        and (figure.visibility != VISIBLE).any()
    )
    return [next(wanted) for _ in range(count)]


def _labels(figures: list[Figure]) -> tuple[np.ndarray, np.ndarray]:
    """Returns `[n, 14, 2]` joints counted from 1, and `[n, 14]` visibility."""
    visibility = np.stack([figure.visibility for figure in figures])
    joints = np.stack([figure.joints for figure in figures]).astype(np.float64) + 1
    return np.where(visibility[..., None] == NOT_LABELLED, 0, joints), visibility


def main() -> None:
    """Writes both data sets beside their builders."""
    here = pathlib.Path(__file__).parent
    figures = _figures(cut_off=False, count=4)
    joints, visibility = _labels(figures)
    third = visibility != VISIBLE  # Occluded.
    labels = np.concatenate([joints, third[..., np.newaxis]], axis=-1).transpose(2, 1, 0)
    _write(here / "lsp/dummy_data/lsp", figures, labels, digits=4)

    figures = _figures(cut_off=True, count=3)
    joints, visibility = _labels(figures)
    third = visibility != NOT_LABELLED  # Labelled.
    labels = np.concatenate([joints, third[..., np.newaxis]], axis=-1).transpose(1, 2, 0)
    _write(here / "lspet/dummy_data/lspet", figures, labels, digits=5)


if __name__ == "__main__":
    main()
