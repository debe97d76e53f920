"""`box_conv2d` on planes of more than 200 rows or columns, which have CPU kernels of their own.

The widths are multiples of the 16 columns that these kernels sum at a time, or not.
"""

import numpy as np
import pytest

import tf_boxconv
from tests.backend import BACKEND, tensor, to_float64, value_and_gradients
from tests.boxes import random_box
from tests.images import DATA_FORMATS, image_shape, images
from tests.ops.problems import check_against_reference, make_problem

PROBLEM_COUNT = 16 if BACKEND == "tensorflow" else 4


def large_problem(seed: int, dtype: str):
    """Makes a problem of random shape and options, with boxes of all kinds of `random_box`."""
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(1, 3)), int(rng.integers(1, 3))
    c = int(rng.choice([1, 2, 3, 8, 9, 16, 18]))
    height, width = int(rng.integers(201, 260)), int(rng.choice([16, 17, 31, 48, 203]))
    if width > 200 and rng.random() < 0.5:
        height = int(rng.integers(1, 40))
    strides = tuple(int(stride) for stride in rng.choice([1, 1, 2, 3], 2))
    boxes = np.array([[random_box(rng, height, width) for _ in range(m)] for _ in range(c)])
    x = rng.normal(rng.normal(), 1, (n, c, height, width))
    g = rng.normal(size=(n, c * m, -(-height // strides[0]), -(-width // strides[1])))
    normalization = [None, "area", "valid"][seed % 3]
    return make_problem(x, boxes, g, dtype, strides, normalization, DATA_FORMATS[seed % 2])


@pytest.mark.parametrize("seed", range(PROBLEM_COUNT))
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_random_problems(dtype, seed):
    check_against_reference(tf_boxconv.box_conv2d, large_problem(seed, dtype))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_large_boxes_on_a_plane_that_takes_several_steps(dtype):
    """All threads share the tile of such a plane, which has 16 channels and then a single one."""
    rng = np.random.default_rng(3)
    c, height, width = 17, 250, 290
    boxes = rng.uniform(-1.1, 1.1, (c, 1, 4)) * [height, width, height, width]
    boxes = np.concatenate([boxes[..., :2], boxes[..., :2] + abs(boxes[..., 2:])], -1)
    x, g = rng.normal(size=(1, c, height, width)), rng.normal(size=(1, c, height, width))
    problem = make_problem(x, boxes, g, dtype, (1, 1), "area", "channels_last")
    check_against_reference(tf_boxconv.box_conv2d, problem)


@pytest.mark.parametrize("size", [0.4, 1, 2, 3, 15, 16, 17, 64, 200, 229, 230, 231, 500])
def test_windows_of_every_height(size):
    rng = np.random.default_rng(0)
    low = rng.uniform(-0.8 * size, -0.2 * size, (2, 2, 2))
    low[1] = np.floor(low[1]) + 0.5  # on pixel borders
    boxes = np.concatenate([low, low + size], -1)
    x, g = rng.normal(size=(1, 2, 230, 20)), rng.normal(size=(1, 4, 230, 20))
    problem = make_problem(x, boxes, g, "float32", (1, 1), "area", "channels_last")
    check_against_reference(tf_boxconv.box_conv2d, problem)


@pytest.mark.parametrize("data_format", DATA_FORMATS)
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_a_bad_gradient_changes_only_the_pixels_of_its_box(value, data_format):
    clean = images(image_shape(data_format, 240, 32, 2), seed=1)
    bad = clean.copy()
    channel = 1 if data_format == "channels_first" else -1
    np.moveaxis(bad, channel, -1)[0, 100, 10, 1] = value
    boxes = np.float32([[[-1.3, -2.2, 1.4, 0.9]], [[-9.2, -5.4, 10.3, 8.1]]])

    def operator(x, boxes):
        return tf_boxconv.box_conv2d(x, boxes, data_format=data_format)

    def input_grad(g):
        arguments = [tensor(images(clean.shape, seed=2)), tensor(boxes)]
        _, (grad, _) = value_and_gradients(operator, arguments, tensor(g))
        return np.moveaxis(to_float64(grad), channel, -1)[0]

    far = np.ones((240, 32, 2), bool)
    far[100 - 10 : 100 + 12, 10 - 6 : 10 + 10, 1] = False
    np.testing.assert_allclose(input_grad(bad)[far], input_grad(clean)[far], rtol=1e-5, atol=1e-6)


def test_a_box_outside_of_the_plane_gives_exactly_zero():
    x = images((1, 300, 20, 1), seed=1) * np.float32(10) ** images((1, 300, 20, 1), seed=2)
    out = to_float64(tf_boxconv.box_conv2d(x, np.float32([[[40.2, -3, 90.7, 3]]])))
    assert np.any(out[0, :259])
    np.testing.assert_array_equal(out[0, 260:], 0)
