"""Draws one example of the `stick_figures` data set: a figure with joints and occluders."""

from __future__ import annotations

import dataclasses
import io
import zlib

import numpy as np
from PIL import Image

from examples.pose.datasets.skeletons import LSP_SKELETON, NOT_LABELLED, OCCLUDED, VISIBLE
from examples.pose.datasets.stick_figures import body, scenery
from examples.pose.datasets.stick_figures.canvas import Canvas, Capsule
from examples.pose.datasets.stick_figures.clothing import Outfit

_MARGIN = 2.0  # Minimum distance from the border in pixels, for figures that are not cut off.
_CUT_OFF_RATE = 0.07  # Fraction of figures that the border cuts off.
_OCCLUDER_RATE = 0.3  # Fraction of images with an object in front of the figure.
# Joints are inside the body. A joint counts as visible if it is at most this far behind the visible
# surface, in body heights.
_SKIN_DEPTH = 0.075


@dataclasses.dataclass(frozen=True)
class Figure:
    """One drawn example.

    Attributes:
        image: uint8 `[size, size, 3]`.
        joints: float32 `[num_joints, 2]`, see `pose_features`.
        visibility: uint8 `[num_joints]`, see `pose_features`.
        jpeg_quality: JPEG quality for storing the image, 1 to 95.
    """

    image: np.ndarray
    joints: np.ndarray
    visibility: np.ndarray
    jpeg_quality: int

    def to_jpeg(self) -> io.BytesIO:
        """Returns the image as a JPEG file."""
        file = io.BytesIO()
        Image.fromarray(self.image).save(file, "JPEG", quality=self.jpeg_quality)
        file.seek(0)
        return file


def draw_figure(seed: int, split: str, index: int, size: int = 128) -> Figure:
    """Draws example number `index` of a split.

    The result depends on the arguments alone, not on what was drawn before.

    Args:
        seed: Seed of the data set.
        split: Name of the split.
        index: Number of the example, from 0.
        size: Height and width in pixels.
    """
    rng = np.random.default_rng([seed, zlib.crc32(split.encode()), index])
    posed = body.pose_body(rng, body.sample_angles(rng), body.sample_view(rng))
    posed, scale = _place(rng, posed, size)
    joints = np.stack([posed.joints[name] for name in LSP_SKELETON.joint_names])

    backdrop = scenery.background(rng, size)
    canvas = Canvas(size, light=np.array([rng.normal(0, 0.8), -1.0, rng.uniform(-1.2, -0.4)]))
    outfit = Outfit.sample(rng)
    capsules = [
        Capsule(part.start, part.end, part.start_radius, part.end_radius, outfit.paint(part))
        for part in posed.parts
    ]
    canvas.draw(capsules + scenery.stray_limbs(rng, size))
    if rng.random() < _OCCLUDER_RATE:
        center = joints[rng.integers(len(joints))] + rng.normal(0, 0.04 * scale, 3)
        scenery.occluder(rng, canvas, center, scale)
    visibility = _visibility(canvas, joints, _SKIN_DEPTH * scale)
    return Figure(
        image=scenery.photograph(rng, canvas.over(backdrop)),
        joints=np.where(visibility[:, None] == NOT_LABELLED, 0, joints[:, :2]).astype(np.float32),
        visibility=visibility,
        jpeg_quality=int(rng.integers(70, 96)),
    )


def _place(rng: np.random.Generator, posed: body.Body, size: int) -> tuple[body.Body, float]:
    """Scales and moves a body into the image.

    Returns:
        The body in pixels, and the scale in pixels per body height.
    """
    centers = np.array([(part.start, part.end) for part in posed.parts])
    radii = np.array([(part.start_radius, part.end_radius) for part in posed.parts])[..., None]
    low, high = (centers - radii).min((0, 1)), (centers + radii).max((0, 1))
    cut_off = rng.random() < _CUT_OFF_RATE
    fill = rng.uniform(1.05, 1.3) if cut_off else rng.uniform(0.78, 0.98)
    room = size - 2 * _MARGIN
    scale = fill * room / max(high[:2] - low[:2])
    # The figure may lie anywhere inside the image. A figure larger than the image has a negative
    # `spare` and may lie anywhere that leaves no gap at a border.
    spare = room - scale * (high[:2] - low[:2])
    corner = _MARGIN - 0.5 + rng.uniform(size=2) * spare
    shift = np.append(corner - scale * low[:2], 0.0)
    parts = [
        dataclasses.replace(part, start=start, end=end, start_radius=radius0, end_radius=radius1)
        for part, (start, end), (radius0, radius1) in zip(
            posed.parts, centers * scale + shift, radii[..., 0] * scale, strict=True
        )
    ]
    joints = {name: joint * scale + shift for name, joint in posed.joints.items()}
    return body.Body(joints, parts), scale


def _visibility(canvas: Canvas, joints: np.ndarray, skin_depth: float) -> np.ndarray:
    """Returns the visibility of each joint. Joints outside the image are not labelled."""
    inside = ((joints[:, :2] > -0.5) & (joints[:, :2] < canvas.size - 0.5)).all(1)
    depth = canvas.depth_at(np.where(inside[:, np.newaxis], joints[:, :2], 0))
    visibility = np.where(depth < joints[:, 2] - skin_depth, OCCLUDED, VISIBLE)
    return np.where(inside, visibility, NOT_LABELLED).astype(np.uint8)
