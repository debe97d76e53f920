"""Errors of the results, compared with the tests' float64 reference."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

import tf_boxconv
from benchmarks import workers
from benchmarks.acceptance.budget import Check
from benchmarks.cases import Case, random_boxes
from benchmarks.rivals import Inputs
from tests import reference

PLANE = 2048
MAX_ERROR = 1e-5
# Unit roundoff, and the smallest positive number.
HALF_TYPES = {"float16": (2.0**-11, 2.0**-24), "bfloat16": (2.0**-8, 2.0**-133)}

# y_min, x_min, y_max, x_max
BOXES = {
    "one pixel": (-0.5, -0.5, 0.5, 0.5),
    "3x3": (-1.3, -1.3, 1.3, 1.3),
    "31x31": (-15.3, -15.3, 15.3, 15.3),
    "long and thin": (-200.3, -0.7, 210.2, 0.9),
    "small and far off": (20.25, -31.1, 22.75, -29.5),
    "as large as the plane": (-1000.7, -1023.7, 1023.7, 900.2),
}


def planes(size: int) -> dict[str, np.ndarray]:
    """Returns nonnegative images `[size, size]` on which summed-area tables lose precision."""
    along = np.arange(1, size + 1, dtype=np.float32)
    spike = np.full((size, size), 0.1, np.float32)
    spike[7, 5] = 1e6
    return {
        "noise of mean 1000": np.random.default_rng(0).normal(1000, 100, (size, size)),
        "a ramp": np.tile(along, (size, 1)),
        "a diagonal ramp": along[:, np.newaxis] + along,
        "a spike of 1e6 on 0.1": spike,
    }


def checks(rounds: int) -> list[Check]:
    """Measures the largest errors in a new process. `rounds` is not used."""
    return workers.in_fresh_process(workers.default_threads(), measure, PLANE)


def measure(size: int) -> list[Check]:
    """Runs all checks on planes of side `size`. Runs in a worker."""
    found = [
        Check(
            f"float32 error / box's mean magnitude, {name}, {size}x{size}",
            float32_error(plane.astype(np.float32)),
            MAX_ERROR,
        )
        for name, plane in planes(size).items()
    ]
    for dtype in HALF_TYPES:
        name = f"{dtype} error, compared with float32, in rounding errors of {dtype}"
        found.append(Check(name, half_error(dtype), 1.0))
    return found


def float32_error(plane: np.ndarray) -> float:
    """Returns the largest error of any box, relative to the mean magnitude inside the box.

    The plane must be nonnegative, so that the mean equals the mean magnitude.
    """
    x = plane[np.newaxis, ..., np.newaxis]
    worst = 0.0
    for box in BOXES.values():
        boxes = np.float32([[box]])
        expected = reference.box_conv2d(x, boxes)
        error = np.abs(tf_boxconv.box_conv2d(x, boxes, data_format="channels_last") - expected)
        # For a box outside the plane the mean is zero, and so must be the error.
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.where(error == 0, 0, error / expected)
        worst = float(np.maximum(worst, relative.max()))  # Keeps NaN, as `max` does not.
    return worst


def half_error(dtype: str) -> float:
    """Returns the largest difference from the float32 result, in rounding errors of the type."""
    roundoff, smallest = HALF_TYPES[dtype]
    case = Case(2, 128, 128, 8, dtype=dtype)
    x, boxes = Inputs(case).x, random_boxes(case)
    as_float32 = tf.cast(x, "float32")

    def mean(images):
        out = tf_boxconv.box_conv2d(images, boxes, data_format="channels_last")
        return tf.cast(out, "float64").numpy()

    expected = mean(as_float32)
    # Rounding of the result, plus the error that float32 itself may have.
    allowed = roundoff * np.abs(expected) + MAX_ERROR * mean(tf.abs(as_float32)) + smallest
    return float(np.max(np.abs(mean(x) - expected) / allowed))
