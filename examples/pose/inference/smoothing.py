"""Smooths the joints of a video by the One Euro filter (Casiez et al., CHI 2012).

The filter is a low-pass whose cutoff rises with the speed of the joint: a joint at rest does not
jitter, and a fast one does not lag.

    cutoff = MIN_CUTOFF + SPEED_COEFFICIENT * |speed|
"""

import math

import numpy as np

MIN_CUTOFF = 0.05  # In Hz.
SPEED_COEFFICIENT = 20.0  # In Hz per (size of the person / s).
SPEED_CUTOFF = 1.0  # In Hz: the speed is smoothed too.


class OneEuroFilter:
    """Smooths the joints of the people in the frames of a video.

    Every frame must have the same people in the same order.

    Args:
        sizes: `[people]`, the size of each person in pixels. Speed is relative to it.
    """

    def __init__(self, sizes):
        self._sizes = np.asarray(sizes, np.float64)[:, None, None]
        self._time = None
        self._joints = None
        self._speed = None

    def __call__(self, joints: np.ndarray, time: float) -> np.ndarray:
        """Adds a frame and returns its smoothed joints.

        Args:
            joints: `[people, joints, 2]`, in pixels.
            time: The time of the frame in seconds. A time that does not increase changes nothing.
        """
        if self._joints is None:
            self._time, self._joints = time, np.asarray(joints, np.float64)
            self._speed = np.zeros_like(self._joints)
            return joints
        step = time - self._time
        if step <= 0:
            return self._joints.astype(joints.dtype)
        speed = (joints - self._joints) / self._sizes / step
        self._speed += _weight(SPEED_CUTOFF, step) * (speed - self._speed)
        cutoff = MIN_CUTOFF + SPEED_COEFFICIENT * np.abs(self._speed)
        self._joints = self._joints + _weight(cutoff, step) * (joints - self._joints)
        self._time = time
        return self._joints.astype(joints.dtype)


def _weight(cutoff, step: float):
    """The weight of a new value in exponential smoothing with a cutoff frequency in Hz."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff * step))
