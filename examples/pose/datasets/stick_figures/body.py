"""The body of a figure: proportions, joint angles, and the positions of its parts.

Coordinates are the camera's: x to the right, y down, z away from the camera, in body heights. A
frame is a 3x3 matrix whose columns are a body part's own directions left, up and forward.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

SIDES = ("right", "left")

# Lengths and radii of the average body, in body heights.
_LENGTHS = {
    "spine": 0.30,
    "head": 0.175,
    "shoulder_width": 0.215,
    "hip_width": 0.115,
    "upper_arm": 0.175,
    "forearm": 0.15,
    "hand": 0.055,
    "thigh": 0.24,
    "shin": 0.235,
    "foot": 0.095,
}

# Ranges of joint angles in degrees. Flexion moves an arm or thigh forward, a forearm up, a shin
# back, the spine and head down; abduction moves a limb away from the body; rotation turns it about
# its own axis. The left and the right limb have the same range, but an angle each.
_Ranges = Mapping[str, tuple[float, float]]
_STANDING: _Ranges = {
    "spine_flexion": (-5, 10),
    "spine_bend": (-8, 8),
    "spine_twist": (-10, 10),
    "head_nod": (-10, 20),
    "head_turn": (-35, 35),
    "head_tilt": (-10, 10),
    "shoulder_flexion": (-20, 25),
    "shoulder_abduction": (6, 30),
    "shoulder_rotation": (-30, 30),
    "elbow": (5, 60),
    "hip_flexion": (-8, 15),
    "hip_abduction": (0, 12),
    "hip_rotation": (-5, 20),
    "knee": (0, 20),
    "ankle": (-5, 10),
}
_REACHING: _Ranges = _STANDING | {
    "spine_bend": (-20, 20),
    "shoulder_flexion": (0, 175),
    "shoulder_abduction": (10, 120),
    "elbow": (0, 110),
    "hip_flexion": (-15, 30),
    "hip_abduction": (0, 35),
    "knee": (0, 40),
}
_CROUCHING: _Ranges = _STANDING | {
    "spine_flexion": (0, 40),
    "shoulder_flexion": (0, 100),
    "shoulder_abduction": (5, 60),
    "elbow": (0, 120),
    "hip_flexion": (35, 110),
    "hip_abduction": (5, 35),
    "knee": (40, 130),
    "ankle": (-20, 5),
}
_FREE: _Ranges = {
    "spine_flexion": (-20, 50),
    "spine_bend": (-28, 28),
    "spine_twist": (-35, 35),
    "head_nod": (-25, 30),
    "head_turn": (-50, 50),
    "head_tilt": (-20, 20),
    "shoulder_flexion": (-40, 175),
    "shoulder_abduction": (0, 130),
    "shoulder_rotation": (-60, 60),
    "elbow": (0, 140),
    "hip_flexion": (-25, 110),
    "hip_abduction": (-5, 55),
    "hip_rotation": (-20, 35),
    "knee": (0, 130),
    "ankle": (-35, 15),
}
LIMITS = _FREE

# Kinds of poses: probability and ranges. "striding" also swings arms and legs (`_swing`).
_KINDS = {
    "standing": (0.22, _STANDING),
    "striding": (0.33, _STANDING),
    "reaching": (0.2, _REACHING),
    "crouching": (0.1, _CROUCHING),
    "free": (0.15, _FREE),
}
# Angles whose names begin with one of these exist on both sides.
_PAIRED = ("shoulder", "elbow", "hip", "knee", "ankle")


@dataclasses.dataclass(frozen=True)
class Part:
    """A tapered capsule: the hull of a ball at `start` and a ball at `end`.

    Attributes:
        name: Name of the body part without its side, such as `"shin"`.
        side: `"left"`, `"right"`, or empty for a part in the middle of the body.
        start: `[3]` centre of the first ball.
        end: `[3]` centre of the second ball.
        start_radius: Radius of the first ball.
        end_radius: Radius of the second ball.
        frame: `[3, 3]` the part's own directions, as columns.
    """

    name: str
    side: str
    start: np.ndarray
    end: np.ndarray
    start_radius: float
    end_radius: float
    frame: np.ndarray


@dataclasses.dataclass(frozen=True)
class Body:
    """A body in space: joint positions by name, `[3]` each, and the parts to draw."""

    joints: dict[str, np.ndarray]
    parts: list[Part]


def sample_angles(rng: np.random.Generator) -> dict[str, float]:
    """Draws a kind of pose, then the angle of every joint from the ranges of that kind.

    Returns:
        `{name: degrees}`. Names of limb angles begin with `"left_"` or `"right_"`. Every angle is
        within `LIMITS`.
    """
    kind = rng.choice(list(_KINDS), p=[share for share, _ in _KINDS.values()])
    angles = {}
    for name, (low, high) in _KINDS[kind][1].items():
        if name.startswith(_PAIRED):
            for side in SIDES:
                angles[f"{side}_{name}"] = rng.uniform(low, high)
        else:
            angles[name] = rng.uniform(low, high)
    if kind == "striding":
        _swing(angles, rng)
    return angles


def _swing(angles: dict[str, float], rng: np.random.Generator) -> None:
    """Swings arms and legs in opposite directions, as in walking and running."""
    stride = rng.uniform(12, 70)
    front, back = SIDES if rng.random() < 0.5 else SIDES[::-1]
    arms = stride * rng.uniform(0.6, 1.1)
    angles["spine_flexion"] = rng.uniform(0, 0.4 * stride)
    angles[f"{front}_hip_flexion"] = stride
    angles[f"{back}_hip_flexion"] = -min(0.5 * stride, 25.0)
    angles[f"{front}_knee"] = rng.uniform(0, 1.3 * stride)
    angles[f"{back}_knee"] = rng.uniform(0.2, 1.5) * stride
    angles[f"{front}_shoulder_flexion"] = -min(arms, 40.0)
    angles[f"{back}_shoulder_flexion"] = arms
    for side in SIDES:
        angles[f"{side}_elbow"] = rng.uniform(10, 110)


def sample_view(rng: np.random.Generator) -> np.ndarray:
    """Draws the frame of the pelvis: seen from any side, mostly upright, from near eye height."""
    towards = rng.choice(["camera", "away", "anywhere"], p=[0.5, 0.2, 0.3])
    yaw = rng.uniform(-180, 180) if towards == "anywhere" else rng.normal(0, 35)
    if towards == "away":
        yaw += 180
    roll = rng.normal(0, 12) if rng.random() < 0.9 else rng.normal(0, 50)
    pitch = rng.normal(0, 13)
    to_camera = np.array([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]])
    return to_camera @ _about_forward(roll) @ _about_left(pitch) @ _about_up(yaw)


def pose_body(rng: np.random.Generator, angles: Mapping[str, float], view: np.ndarray) -> Body:
    """Puts a body of random proportions into a pose.

    Args:
        rng: Draws the proportions.
        angles: From `sample_angles`.
        view: Frame of the pelvis, from `sample_view`.

    Returns:
        The body, with the middle of its hips at the origin.
    """
    size = {name: value * rng.normal(1, 0.06) for name, value in _LENGTHS.items()}
    girth = float(np.clip(rng.normal(1, 0.13), 0.75, 1.45))
    posed = Body({}, [])
    chest = _add_trunk(posed, angles, view, size, girth)
    for side, sign in zip(SIDES, (-1.0, 1.0), strict=True):
        of_side = {name: angles[f"{side}_{name}"] for name in _FREE if name.startswith(_PAIRED)}
        _add_arm(posed, side, sign, of_side, chest, size, girth)
        _add_leg(posed, side, sign, of_side, view, size, girth)
    return posed


def _add_trunk(
    posed: Body,
    angles: Mapping[str, float],
    pelvis: np.ndarray,
    size: Mapping[str, float],
    girth: float,
) -> np.ndarray:
    """Adds torso, neck and head, and their joints. Returns the frame of the chest."""
    joints, parts = posed.joints, posed.parts
    bend = (
        _about_left(angles["spine_flexion"])
        @ _about_forward(angles["spine_bend"])
        @ _about_up(angles["spine_twist"])
    )
    chest = pelvis @ bend
    waist = pelvis[:, 1] * 0.4 * size["spine"]
    neck = waist + chest[:, 1] * 0.6 * size["spine"]
    head = chest @ (
        _about_up(angles["head_turn"])
        @ _about_left(angles["head_nod"])
        @ _about_forward(angles["head_tilt"])
    )
    head_top = neck + head[:, 1] * size["head"]
    joints["neck"], joints["head_top"] = neck, head_top

    half_hips, half_shoulders = size["hip_width"] / 2, size["shoulder_width"] / 2
    for side, sign in zip(SIDES, (-1.0, 1.0), strict=True):
        joints[f"{side}_hip"] = pelvis[:, 0] * sign * half_hips
        joints[f"{side}_shoulder"] = neck + chest @ (sign * half_shoulders, -0.02, 0.0)
        hip = pelvis @ (sign * 0.6 * half_hips, 0.03, 0.0)
        flank = waist + chest @ (sign * 0.36 * half_shoulders, 0.0, 0.0)
        armpit = neck + chest @ (sign * 0.5 * half_shoulders, -0.07, 0.0)
        collar = neck - chest[:, 1] * 0.02
        parts += [
            Part("chest", side, flank, hip, 0.05 * girth, 0.058 * girth, chest),
            Part("chest", side, armpit, flank, 0.056 * girth, 0.05 * girth, chest),
            Part("collar", side, joints[f"{side}_shoulder"], collar, 0.031, 0.034, chest),
        ]
    top, radius = neck - chest[:, 1] * 0.06, 0.3 * size["head"]
    jaw = neck + head @ (0.0, 0.28 * size["head"] + 0.7 * radius, 0.008)
    crown = head_top - head[:, 1] * radius
    parts += [
        Part("breast", "", top, waist * 0.5, 0.06 * girth, 0.056 * girth, chest),
        Part("neck", "", neck, jaw, 0.026, 0.026, head),
        Part("head", "", jaw, crown, 0.85 * radius, radius, head),
    ]
    return chest


def _add_arm(
    posed: Body,
    side: str,
    sign: float,
    angles: Mapping[str, float],
    chest: np.ndarray,
    size: Mapping[str, float],
    girth: float,
) -> None:
    """Adds the arm of one side; `sign` is 1 for the left side and -1 for the right."""
    joints = posed.joints
    upper = chest @ (
        _about_forward(sign * angles["shoulder_abduction"])
        @ _about_left(-angles["shoulder_flexion"])
        @ _about_up(sign * -angles["shoulder_rotation"])
    )
    lower = upper @ _about_left(-angles["elbow"])
    shoulder = joints[f"{side}_shoulder"]
    elbow = shoulder - upper[:, 1] * size["upper_arm"]
    wrist = elbow - lower[:, 1] * size["forearm"]
    hand = wrist - lower[:, 1] * size["hand"]
    joints[f"{side}_elbow"], joints[f"{side}_wrist"] = elbow, wrist
    posed.parts.extend(
        [
            Part("upper_arm", side, shoulder, elbow, 0.031 * girth, 0.024 * girth, upper),
            Part("forearm", side, elbow, wrist, 0.024 * girth, 0.017 * girth, lower),
            Part("hand", side, wrist, hand, 0.017, 0.02, lower),
        ]
    )


def _add_leg(
    posed: Body,
    side: str,
    sign: float,
    angles: Mapping[str, float],
    pelvis: np.ndarray,
    size: Mapping[str, float],
    girth: float,
) -> None:
    """Adds the leg of one side; `sign` is 1 for the left side and -1 for the right."""
    joints = posed.joints
    upper = pelvis @ (
        _about_forward(sign * angles["hip_abduction"])
        @ _about_left(-angles["hip_flexion"])
        @ _about_up(sign * angles["hip_rotation"])
    )
    lower = upper @ _about_left(angles["knee"])
    foot = lower @ _about_left(-angles["ankle"])
    hip = joints[f"{side}_hip"]
    knee = hip - upper[:, 1] * size["thigh"]
    ankle = knee - lower[:, 1] * size["shin"]
    joints[f"{side}_knee"], joints[f"{side}_ankle"] = knee, ankle
    heel = ankle + foot @ (0.0, -0.025, -0.012)
    toes = heel + foot @ (0.0, -0.004, size["foot"])
    posed.parts.extend(
        [
            Part("thigh", side, hip, knee, 0.05 * girth, 0.036 * girth, upper),
            Part("shin", side, knee, ankle, 0.036 * girth, 0.023 * girth, lower),
            Part("foot", side, heel, toes, 0.024, 0.019, foot),
        ]
    )


def _about_left(degrees: float) -> np.ndarray:
    """Rotation about a frame's left direction. 90 degrees turn up into forward."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def _about_up(degrees: float) -> np.ndarray:
    """Rotation about a frame's up direction. 90 degrees turn forward into left."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def _about_forward(degrees: float) -> np.ndarray:
    """Rotation about a frame's forward direction. 90 degrees turn left into up."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
