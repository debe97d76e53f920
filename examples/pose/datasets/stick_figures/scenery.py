"""Surroundings of a figure: background, objects behind and in front of it, effects of a camera."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from examples.pose.datasets.stick_figures.canvas import Canvas, Capsule
from examples.pose.datasets.stick_figures.clothing import plain, random_color, random_skin

_BEHIND = 1e4  # Depth in pixels of objects behind a figure. Objects in front have -_BEHIND.


def background(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draws a background: a gradient or a horizon, texture, and shapes, maybe out of focus.

    Returns:
        float32 `[3, size, size]` in 0..1.
    """
    center = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    y, x = center[:, np.newaxis], center
    angle = rng.uniform(0, 2 * math.pi)
    cos, sin = math.cos(angle), math.sin(angle)
    blend = 0.5 + 0.7 * (x * cos + y * sin)
    if rng.random() < 0.4:  # Ground and sky, or floor and wall.
        above = y + 0.15 * cos * x < rng.uniform(-0.1, 0.4)
        blend = 0.3 * blend + np.where(above, np.float32(0.7), np.float32(0))
    if rng.random() < 0.25:
        blend = blend + 0.3 * _tiles(rng, x, y)
    blend = blend + _noise(rng, size) * rng.uniform(0.1, 0.7)
    gray = Image.fromarray(np.clip(blend * 255, 0, 255).astype(np.uint8))
    gray.putpalette(_palette(rng).tobytes())
    image = gray.convert("RGB")
    _shapes(rng, image)
    if rng.random() < 0.5:
        image = image.filter(ImageFilter.BoxBlur(rng.uniform(0.3, 1.8)))
    return np.moveaxis(np.asarray(image, np.float32) / 255, -1, 0)


def _palette(rng: np.random.Generator) -> np.ndarray:
    """Draws a gradient of 256 colours, less saturated than clothes: uint8 `[256, 3]`."""
    ends = np.hstack([random_color(rng), random_color(rng)])
    ends += rng.uniform(0, 0.8) * (ends.mean(0) - ends)
    return np.linspace(*(255 * ends.T), 256).astype(np.uint8)


def _noise(rng: np.random.Generator, size: int) -> np.ndarray:
    """Smooth noise with detail at several scales, float32 `[size, size]`, about -1..1."""
    fade, weight = rng.uniform(0.45, 0.8), 1.0
    noise = np.zeros((3, 3), np.float32)
    for cells in (3, 6, 12, 24, 48):
        noise = _resize(noise, cells) + weight * rng.uniform(-1, 1, (cells, cells))
        weight *= fade
    return _resize(noise, size)


def _resize(plane: np.ndarray, size: int) -> np.ndarray:
    plane = Image.fromarray(plane.astype(np.float32))
    return np.asarray(plane.resize((size, size), Image.Resampling.BILINEAR))


def _tiles(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A pattern of stripes or checks with values -1 and 1, float32 `[size, size]`."""
    angle, count = rng.uniform(0, math.pi), 2 * math.pi * rng.uniform(3, 12)
    cos, sin = count * math.cos(angle), count * math.sin(angle)
    pattern = np.sin(x * cos + y * sin) > 0
    if rng.random() < 0.5:
        pattern = pattern ^ (np.sin(y * cos - x * sin) > 0)
    return np.where(pattern, np.float32(1), np.float32(-1))


def _rgb(color: np.ndarray) -> tuple[int, ...]:
    """The colour as a tuple of integers 0 to 255, for Pillow."""
    return tuple(int(value * 255) for value in color.ravel())


def _shapes(rng: np.random.Generator, image: Image.Image) -> None:
    """Draws random lines, ellipses and polygons into `image`."""
    draw, size = ImageDraw.Draw(image), image.width
    for _ in range(rng.integers(0, 7)):
        fill = _rgb(random_color(rng))
        x, y = rng.uniform(0, size, 2)
        kind = rng.integers(3)
        if kind == 0:
            end = rng.uniform(-0.2 * size, 1.2 * size, 2)
            draw.line([x, y, *end], fill=fill, width=int(rng.integers(1, max(2, size // 20))))
        elif kind == 1:
            width, height = rng.uniform(0.02, 0.2, 2) * size
            draw.ellipse([x - width, y - height, x + width, y + height], fill=fill)
        else:
            corners = (x, y) + rng.uniform(-0.25, 0.25, (int(rng.integers(3, 6)), 2)) * size
            draw.polygon([tuple(corner) for corner in corners], fill=fill)


def stray_limbs(rng: np.random.Generator, size: int) -> list[Capsule]:
    """Makes up to three arms or legs that belong to nobody, behind the figure, as distractors."""
    capsules = []
    for _ in range(rng.choice([0, 1, 2, 3], p=[0.4, 0.3, 0.2, 0.1])):
        joint = np.array([*rng.uniform(0, size, 2), _BEHIND])
        angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.2) * size
        radius = length * rng.uniform(0.12, 0.2)
        color = random_color(rng)
        for _ in range(2):
            end = joint + length * np.array([math.cos(angle), math.sin(angle), 0.0])
            capsules.append(Capsule(joint, end, radius, 0.75 * radius, plain(color)))
            joint, radius, angle = end, 0.75 * radius, angle + rng.uniform(-1.5, 1.5)
            color = random_skin(rng) if rng.random() < 0.6 else color
    return capsules


def occluder(rng: np.random.Generator, canvas: Canvas, center: np.ndarray, extent: float) -> None:
    """Draws one object in front of everything: a ball, a bar, or a panel.

    Args:
        rng: Draws the object's kind, size and colours.
        canvas: The canvas to draw on.
        center: `(x, y)` of the object's centre, in pixels.
        extent: Height of the figure in pixels. The object's size is proportional to it.
    """
    center = np.array([*center[:2], -_BEHIND])
    color = random_color(rng)
    kind = rng.choice(["ball", "bar", "panel"])
    if kind == "ball":
        radius = extent * rng.uniform(0.04, 0.1)
        canvas.draw([Capsule(center, center, radius, radius, plain(color))])
    elif kind == "bar":
        reach = rng.normal(0, 1, 3) * (1, 1, 0)
        reach *= extent * rng.uniform(0.15, 1.2) / np.linalg.norm(reach)
        radius = extent * rng.uniform(0.012, 0.03)
        canvas.draw([Capsule(center - reach, center + reach, radius, radius, plain(color))])
    else:
        half_size = extent * rng.uniform(0.04, 0.13, 2)
        bands = np.hstack([color, random_color(rng)])[:, np.arange(rng.integers(1, 6)) % 2]
        canvas.draw_panel(center, half_size, rng.uniform(-45, 45), bands)


def photograph(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Simulates a camera: exposure, contrast, colour cast, blur and sensor noise.

    Args:
        rng: Draws the strength of each effect.
        image: float32 `[3, height, width]` in 0..1.

    Returns:
        uint8 `[height, width, 3]`.
    """
    contrast = rng.uniform(0.75, 1.1)
    gain = (contrast * 255 * rng.normal(1, 0.04, (3, 1, 1))).astype(np.float32)
    offset = (255 * rng.normal(0.5 - 0.5 * contrast, 0.05)) + 0.5
    noise = rng.standard_normal(image.shape[1:], np.float32)
    image = image * gain + (offset + noise * rng.uniform(0, 8))
    image = np.moveaxis(np.clip(image, 0, 255).astype(np.uint8), 0, -1)
    if rng.random() < 0.2:
        image = Image.fromarray(image).filter(ImageFilter.BoxBlur(rng.uniform(0.15, 0.5)))
    return np.ascontiguousarray(image)
