"""A small software renderer: shaded capsules and flat panels with a depth buffer.

Colours are float32 in 0..1 with channels first, `[3, ...]`, because NumPy is several times slower
along an axis of length 3. Points are `(x, y, depth)` in pixels: `(0, 0)` is the centre of the top
left pixel, and depth grows away from the camera.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

# The colour of a surface: a function from `along` [n] (0 at the capsule's start, 1 at its end) and
# outward normals [3, n] in the camera's frame to colours [3, 1] or [3, n].
Paint = Callable[[np.ndarray, np.ndarray], np.ndarray]

_SAMPLES = 2  # Samples per pixel in each direction. Their average smooths edges.
_AMBIENT = 0.5  # Fraction of the light that comes from all directions.


class Capsule(NamedTuple):
    """The convex hull of two balls. Centres are points `[3]`, radii are in pixels."""

    start: np.ndarray
    end: np.ndarray
    start_radius: float
    end_radius: float
    paint: Paint


class Canvas:
    """Draws surfaces seen from the front. At every sample, only the nearest surface is visible.

    Args:
        size: Height and width in pixels.
        light: `[3]` direction from the figure to the light.
    """

    def __init__(self, size: int, light: np.ndarray):
        self.size = size
        self._samples = size * _SAMPLES  # In a row or column.
        self._depth = np.full(self._samples**2, np.inf, np.float32)
        self._color = np.zeros((3, self._samples**2), np.float32)
        self._light = (light / np.linalg.norm(light)).astype(np.float32)

    def draw(self, capsules: Sequence[Capsule]) -> None:
        """Draws shaded capsules.

        The samples of all capsules are computed together. One capsule covers few samples, so
        calling NumPy for each capsule would take several times as long.
        """
        if not capsules:
            return
        start = np.array([c.start for c in capsules], np.float32).T
        end = np.array([c.end for c in capsules], np.float32).T
        radius = np.array([(c.start_radius, c.end_radius) for c in capsules], np.float32).T
        axis, spread = end - start, radius[1] - radius[0]
        direction = axis[:2] / np.maximum((axis[:2] ** 2).sum(0), 1e-6)
        owner, rows, index, x = self._samples_in(
            np.minimum(start[:2] - radius[0], end[:2] - radius[1]),
            np.maximum(start[:2] + radius[0], end[:2] + radius[1]),
        )
        # For each sample: its nearest point on the capsule's axis (`along`, 0 at the start and 1 at
        # the end), the vector (x, y) from there, and the height of the surface above the axis.
        # Values that are constant along a row are computed per row, then repeated per sample.
        y = rows.y - start[1, owner]
        per_row = [start[0, owner], y, y * direction[1, owner], direction[0, owner]]
        per_row += [axis[0, owner], axis[1, owner], radius[0, owner], spread[owner]]
        x0, y, along_y, along_x, axis_x, axis_y, radius0, spread = rows.repeat(np.stack(per_row))
        x -= x0
        along = np.clip(x * along_x + along_y, 0, 1)
        x -= along * axis_x
        y -= along * axis_y
        at_radius = radius0 + along * spread
        height2 = at_radius * at_radius - x * x - y * y

        covered = np.flatnonzero(height2 > 0)
        index, along, owner = index[covered], along[covered], rows.repeat(owner)[covered]
        height = np.sqrt(height2[covered])
        depth = start[2][owner] + along * axis[2][owner] - height
        np.minimum.at(self._depth, index, depth)
        nearest = np.flatnonzero(depth == self._depth[index])
        index, along, owner = index[nearest], along[nearest], owner[nearest]
        covered = covered[nearest]

        normals = np.stack([x[covered], y[covered], -height[nearest]]) / at_radius[covered]
        color = np.empty_like(normals)
        borders = np.searchsorted(owner, np.arange(len(capsules) + 1))
        for capsule, first, last in zip(capsules, borders, borders[1:], strict=False):
            color[:, first:last] = capsule.paint(along[first:last], normals[:, first:last])
        lit = np.maximum(self._light @ normals, 0) * (1 - _AMBIENT) + _AMBIENT
        lit *= 0.7 - 0.3 * normals[2]  # Darkens surfaces at a grazing angle, for an outline.
        self._fill(index, color * lit)

    def draw_panel(
        self, center: np.ndarray, half_size: np.ndarray, degrees: float, colors: np.ndarray
    ) -> None:
        """Draws a flat rectangle that faces the camera.

        Args:
            center: `[3]` point in the middle of the rectangle.
            half_size: `[2]` half the width and height, before rotation.
            degrees: Angle of rotation.
            colors: `[3, k]` colours of k equal bands along the width.
        """
        reach = np.hypot(*half_size)
        _, rows, index, x = self._samples_in(center[:2, None] - reach, center[:2, None] + reach)
        x, y = x - center[0], rows.repeat(rows.y) - center[1]
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        u, v = (cos * x + sin * y) / half_size[0], (cos * y - sin * x) / half_size[1]
        seen = (abs(u) < 1) & (abs(v) < 1) & (center[2] < self._depth[index])
        index, band = index[seen], (u[seen] * 0.5 + 0.5) * colors.shape[1]
        self._depth[index] = center[2]
        self._fill(index, colors[:, band.astype(int)])

    def depth_at(self, points: np.ndarray) -> np.ndarray:
        """Depth of the nearest surface at points `[n, 2]` inside the image; inf without surface."""
        column, row = ((points.T + 0.5) * _SAMPLES).astype(int)
        return self._depth[row * self._samples + column]

    def over(self, background: np.ndarray) -> np.ndarray:
        """Composes the drawing over a background `[3, size, size]`, antialiased."""
        cover = self._average(np.isfinite(self._depth).astype(np.float32))
        return self._average(self._color) + (1 - cover) * background

    def _average(self, samples: np.ndarray) -> np.ndarray:
        """Averages the samples of each pixel: `[..., n]` becomes `[..., size, size]`."""
        samples = samples.reshape(*samples.shape[:-1], self._samples, self._samples)
        rows = sum(samples[..., i::_SAMPLES, :] for i in range(_SAMPLES))
        return sum(rows[..., i::_SAMPLES] for i in range(_SAMPLES)) * np.float32(_SAMPLES**-2)

    def _fill(self, index: np.ndarray, color: np.ndarray) -> None:
        for plane, values in zip(self._color, color, strict=True):
            plane[index] = values

    def _samples_in(
        self, low: np.ndarray, high: np.ndarray
    ) -> tuple[np.ndarray, _Rows, np.ndarray, np.ndarray]:
        """Lists the samples in rectangles, row by row, one rectangle after the other.

        Args:
            low: `[2, n]` corners `(x, y)` of the rectangles, in pixels.
            high: `[2, n]` opposite corners.

        Returns:
            owner: Index of the rectangle of each row.
            rows: The rows.
            index: Flat index of every sample in the depth and colour buffers.
            x: x of every sample, in pixels.
        """
        left, top = np.clip((low + 0.5) * _SAMPLES, 0, self._samples).astype(int)
        right, bottom = np.clip((high + 0.5) * _SAMPLES + 1, 0, self._samples).astype(int)
        height = bottom - top
        owner = np.repeat(np.arange(len(height)), height)
        row = np.arange(len(owner)) + np.repeat(bottom - np.cumsum(height), height)
        width = (right - left)[owner]
        rows = _Rows(_center(row), width)
        number = np.arange(width.sum())
        column = rows.repeat(left[owner] + width - np.cumsum(width)) + number
        return owner, rows, rows.repeat(row * self._samples) + column, _center(column)


class _Rows(NamedTuple):
    """Rows of samples: `y` of each row in pixels, and `width`, its number of samples."""

    y: np.ndarray
    width: np.ndarray

    def repeat(self, values: np.ndarray) -> np.ndarray:
        """Repeats values `[..., rows]` of each row for every sample in it: `[..., samples]`."""
        return np.repeat(values, self.width, axis=-1)


def _center(number: np.ndarray) -> np.ndarray:
    """Coordinate in pixels of sample number `number` in a row or column."""
    return (number.astype(np.float32) + np.float32(0.5)) / np.float32(_SAMPLES) - np.float32(0.5)
