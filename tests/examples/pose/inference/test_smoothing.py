"""Tests of the smoothing of joints over time."""

import numpy as np

from examples.pose.inference.smoothing import OneEuroFilter

RATE = 30


def run(joints, size=100.0):
    smooth = OneEuroFilter([size])
    return np.array([smooth(j[None, None], t / RATE)[0, 0] for t, j in enumerate(joints)])


def test_a_joint_at_rest_jitters_less():
    noise = np.random.default_rng(0).normal(0, 0.5, (90, 2))
    smoothed = run(50 + noise)
    assert smoothed[30:].std() < 0.5 * noise[30:].std()
    np.testing.assert_allclose(smoothed[30:].mean(), 50, atol=0.2)


def test_a_fast_joint_does_not_lag():
    moved = np.stack([np.arange(60) * 5.0, np.zeros(60)], axis=-1)  # 1.5 times its size a second.
    np.testing.assert_allclose(run(moved)[10:], moved[10:], atol=1.0)


def test_smoothing_does_not_depend_on_the_scale_of_the_picture():
    joints = np.random.default_rng(1).normal(0, 3, (20, 2)).cumsum(axis=0)
    np.testing.assert_allclose(run(10 * joints, size=1000.0), 10 * run(joints), rtol=1e-9)


def test_a_time_that_stands_still_changes_nothing():
    smooth = OneEuroFilter([1.0])
    first = np.float32([[[1, 2]]])
    assert smooth(first, 0.5) is first
    again = smooth(first + 9, 0.5)
    np.testing.assert_array_equal(again, first)
    assert again.dtype == np.float32
