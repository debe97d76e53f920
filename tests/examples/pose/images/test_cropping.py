"""Tests of the crops around people."""

import numpy as np

from examples.pose.images import cropping


def test_crop_person():
    image = np.arange(6 * 8 * 3).reshape(6, 8, 3)
    part, origin = cropping.crop_person(image, (1.5, 2.0, 4.2, 5.0))
    np.testing.assert_array_equal(part, image[2:5, 1:5])
    assert origin.tolist() == [1, 2] and origin.dtype == np.float32
    whole, origin = cropping.crop_person(image, (-9, -9, 99, 99))
    np.testing.assert_array_equal(whole, image)
    assert origin.tolist() == [0, 0]
    for outside in [(20, 20, 30, 30), (-30, -30, -20, -20), (3, 3, 3, 3)]:
        part, origin = cropping.crop_person(image, outside)
        x, y = origin.astype(int)
        np.testing.assert_array_equal(part, image[y : y + 1, x : x + 1])


def test_crop_to_box_leaves_a_margin():
    image = np.arange(100 * 80 * 3).reshape(100, 80, 3)
    part, origin = cropping.crop_to_box(image, (20, 40, 16, 24))
    np.testing.assert_array_equal(origin, [18, 37])
    np.testing.assert_array_equal(part, image[37:67, 18:38])
