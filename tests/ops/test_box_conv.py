"""`box_conv2d` against the float64 reference: values and first gradients."""

import dataclasses

import keras
import numpy as np
import pytest

import tf_boxconv
from tests import reference, tolerances
from tests.backend import (
    BACKEND,
    box_conv2d_portable,
    central_differences,
    tensor,
    to_float64,
    value_and_gradients,
)
from tests.boxes import boxes_anywhere, boxes_around_pixel
from tests.images import DATA_FORMATS, image_shape, images
from tests.ops.problems import (
    DTYPES,
    check_against_reference,
    make_problem,
    random_problem,
)

# JAX compiles each problem anew, which takes a few tenths of a second.
PROBLEM_COUNT = 40 if BACKEND == "jax" else 160
both_formats = pytest.mark.parametrize("data_format", DATA_FORMATS)


@pytest.mark.parametrize("seed", range(PROBLEM_COUNT))
@pytest.mark.parametrize("dtype", DTYPES)
def test_random_problems(dtype, seed):
    check_against_reference(tf_boxconv.box_conv2d, random_problem(seed, dtype))


@pytest.mark.parametrize("seed", range(1000, 1000 + PROBLEM_COUNT // 8))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_portable_path_on_random_problems(dtype, seed):
    check_against_reference(box_conv2d_portable, random_problem(seed, dtype))


def test_a_box_of_one_pixel_is_the_identity():
    x = images((2, 7, 9, 3), seed=1)
    identity = np.tile(np.float32([-0.5, -0.5, 0.5, 0.5]), (3, 1, 1))
    out = to_float64(tf_boxconv.box_conv2d(x, identity))
    np.testing.assert_allclose(out, x, **tolerances.VALUES["float32"])


def test_a_valid_box_of_3x3_pixels_is_their_mean():
    x = images((2, 7, 9, 3), seed=1)
    identity = np.tile(np.float32([-0.5, -0.5, 0.5, 0.5]), (3, 1, 1))
    mean = tf_boxconv.box_conv2d(x, 3 * identity, normalization="valid")
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    expected = np.nanmean(windows, axis=(-2, -1))
    np.testing.assert_allclose(to_float64(mean), expected, **tolerances.VALUES["float32"])


def test_the_boxes_of_a_channel_are_neighbours_in_the_output():
    x = np.tile(np.float32([1, 10]), (1, 5, 5, 1))
    half = np.float32([-0.5, -0.5, 0.5, 0.5])
    boxes = np.stack([[half, 3 * half], [half, 3 * half]])
    out = tf_boxconv.box_conv2d(x, boxes, normalization=None)
    np.testing.assert_allclose(
        to_float64(out)[0, 2, 2], [1, 9, 10, 90], **tolerances.VALUES["float32"]
    )


@both_formats
@pytest.mark.parametrize("channels", [1, 15, 16, 17, 40])
def test_any_number_of_channels(channels, data_format):
    """The kernels process channels in groups, which may be full, partial or a single channel."""
    x = images(image_shape(data_format, 6, 5, channels), seed=channels, dtype=np.float64)
    boxes = boxes_anywhere(channels, 3, reach=4, seed=channels)
    options = {"strides": (1, 2), "normalization": "area", "data_format": data_format}
    out = to_float64(tf_boxconv.box_conv2d(tensor(x), boxes, **options))
    expected = reference.box_conv2d(x, boxes, **options)
    np.testing.assert_allclose(out, expected, **tolerances.VALUES["float64"])


def problem_of_several_tiles(data_format, strides, normalization, dtype="float64", seed=7):
    """Planes that are split along both axes, and boxes from tiny to larger than the plane."""
    height, width, channels, per_channel = 210, 1100, 3, 2
    boxes = boxes_anywhere(channels, per_channel, reach=40, seed=seed)
    boxes[0, 0] = [-2.5, -0.5, 1.5, 3.5]
    boxes[1, 0] = [-900, -2000, 900, 2000]
    boxes[2, 1] = [30.5, -700, 33.25, -650.5]
    out = (1, channels * per_channel, -(-height // strides[0]), -(-width // strides[1]))
    x = images((1, channels, height, width), seed=seed, dtype=np.float64)
    g = images(out, seed=seed + 1, dtype=np.float64)
    return make_problem(x, boxes, g, dtype, strides, normalization, data_format)


@both_formats
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
@pytest.mark.parametrize("normalization", ["area", "valid"])
def test_planes_of_several_tiles(data_format, strides, normalization):
    problem = problem_of_several_tiles(data_format, strides, normalization)
    check_against_reference(tf_boxconv.box_conv2d, problem)


def test_small_boxes_on_planes_of_several_tiles():
    """Boxes that reach few rows give short tiles, so there are many tiles."""
    problem = problem_of_several_tiles("channels_last", (1, 1), "area", "float32")
    boxes = np.clip(problem.boxes, -3.25, 4.5)
    check_against_reference(tf_boxconv.box_conv2d, dataclasses.replace(problem, boxes=boxes))


@pytest.mark.parametrize("fill", ["bright", "constant", "ramp", "spike"])
def test_float32_on_a_large_plane(fill):
    """Float32 is accurate here although simple algorithms are not.

    A float32 summed-area table is inaccurate for small boxes, plain float32 sums for large ones.
    """
    height, width = 2048, 512
    ramp = np.linspace(0, 1000, height, dtype=np.float32)
    planes = {
        "bright": 1000 + images((height, width)),
        "constant": np.full((height, width), 1000.1),
        "ramp": ramp[:, None] + ramp[None, :width],
        "spike": np.pad([[1e6]], ((3, height - 4), (5, width - 6))) + 0.1,
    }
    x = planes[fill].astype(np.float32)[None, :, :, None]
    small, large = [-0.7, -0.7, 0.7, 0.7], [-900.3, -300.2, 1020.1, 250.7]
    boxes = np.float32([[small, [-1, -1, 30.2, 20], [-200, -3, 100, 400], large]])
    out = to_float64(tf_boxconv.box_conv2d(x, boxes))
    expected = reference.box_conv2d(x, boxes)
    assert np.max(np.abs(out - expected) / (expected + 1e-30)) < tolerances.OPERATOR["float32"]


@pytest.mark.parametrize("height", [70, 230])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_a_bad_pixel_changes_only_outputs_whose_box_contains_or_touches_it(value, height):
    """Large planes with such pixels are computed in another way, so bits may differ there."""
    clean = images((1, height, 60, 3), seed=1)
    bad = clean.copy()
    bad[0, 30, 25, 1] = value
    boxes = np.float32([[[-1.3, -2.2, 1.4, 0.9]], [[-9.2, -20.4, 10.3, 8.1]], [[-2, -2, 2, 2]]])
    expected, out = (to_float64(tf_boxconv.box_conv2d(x, boxes)) for x in (clean, bad))
    rows, columns = np.arange(height)[:, None], np.arange(60)[None, :]
    y_min, x_min, y_max, x_max = boxes[1, 0]
    # The outputs whose box overlaps the pixel (30, 25). No edge lies on a pixel border.
    near = (rows + y_min - 0.5 < 30) & (rows + y_max + 0.5 > 30)
    near = near & (columns + x_min - 0.5 < 25) & (columns + x_max + 0.5 > 25)
    far = np.ones((height, 60, 3), bool)
    far[..., 1] = ~near
    exact = height < 200
    tolerance = {"rtol": 0, "atol": 0} if exact else tolerances.VALUES["float32"]
    np.testing.assert_allclose(out[0][far], expected[0][far], **tolerance)


@pytest.mark.parametrize("box", [(-0.3, -0.2, 0.3, 0.1), (0.6, -1.4, 1.2, -0.7)])
def test_a_nan_does_not_reach_a_box_inside_the_neighbouring_pixel(box):
    x = np.ones((1, 9, 20, 2), np.float32)
    x[0, 4, 5, 1] = np.nan
    out = to_float64(tf_boxconv.box_conv2d(x, np.float32([[box], [box]])))
    row, column = 4 - round(box[0]), 5 - round(box[1])
    np.testing.assert_array_equal(np.argwhere(np.isnan(out)), [[0, row, column, 1]])


@pytest.mark.parametrize("size", [1, 2, 3, 12, 13, 14, 15, 16, 64, 65, 130])
def test_windows_of_every_size(size):
    """Short windows are summed pixel by pixel, longer ones block by block."""
    rng = np.random.default_rng(size)
    x = rng.normal(size=(1, 140, 133, 2))
    low = rng.uniform(-1.2 * size, 0.2 * size, (2, 3, 2))
    low_on_border = np.floor(low) + 0.5
    boxes = np.concatenate([low, low + size], -1)
    boxes[:, 1] = np.concatenate([low_on_border, low_on_border + size], -1)[:, 1]
    for normalization in ("area", "valid"):
        out = to_float64(tf_boxconv.box_conv2d(tensor(x), boxes, normalization=normalization))
        expected = reference.box_conv2d(x, boxes, normalization=normalization)
        np.testing.assert_allclose(out, expected, **tolerances.VALUES["float64"])


@pytest.mark.parametrize("normalization", ["area", "valid", None])
def test_gradients_equal_central_differences(normalization):
    """No edge is on a pixel border, where derivatives have two values."""
    x = images((2, 6, 7, 2), seed=3, dtype=np.float64)
    first = [[-1.3, -0.2, 2.1, 3.4], [0.7, -5.2, 1.9, 0.1]]
    second = [[-9.8, -9.3, 9.9, 9.6], [2, 1, 2.3, 5.2]]
    arguments = [x, np.array([first, second])]
    weights = tensor(images((2, 3, 4, 4), seed=4, dtype=np.float64))

    def loss(x, boxes):
        out = tf_boxconv.box_conv2d(x, boxes, strides=2, normalization=normalization)
        return keras.ops.sum(out * weights)

    _, analytic = value_and_gradients(loss, [tensor(a) for a in arguments])
    for found, finite in zip(analytic, central_differences(loss, arguments), strict=True):
        np.testing.assert_allclose(to_float64(found), finite, **tolerances.CENTRAL_DIFFERENCES)


@pytest.mark.parametrize("edge", range(4))
@pytest.mark.parametrize("box", [(-1.5, -0.5, 0.5, 2.5), (-2.5, -3.5, 7.5, 0.5)])
def test_the_derivative_on_a_pixel_border_is_that_of_the_growing_box(box, edge):
    x = tensor(images((1, 6, 5, 1), seed=5, dtype=np.float64))
    boxes = np.array([[box]])

    def loss(boxes):
        return keras.ops.sum(tf_boxconv.box_conv2d(x, boxes) ** 2)

    out, (gradient,) = value_and_gradients(loss, [tensor(boxes)])
    outward = 1e-7 * (-1 if edge < 2 else 1)
    grown = boxes.copy()
    grown[0, 0, edge] += outward
    difference = to_float64(loss(tensor(grown))) - to_float64(out)
    np.testing.assert_allclose(
        to_float64(gradient)[0, 0, edge], difference / outward, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("size", [(7, 7), (33, 31), (210, 20)])
def test_an_image_gives_the_same_results_alone_and_in_a_batch(size):
    """Small planes of many images are summed in another order, so bits may differ there."""
    x = images((9, *size, 24), seed=4)
    boxes = boxes_around_pixel(24, 2, reach=9, seed=4).astype(np.float32)
    batch = to_float64(tf_boxconv.box_conv2d(x, boxes))
    tolerance = tolerances.VALUES["float32"] if size == (7, 7) else {"rtol": 0, "atol": 0}
    for i in range(9):
        alone = to_float64(tf_boxconv.box_conv2d(x[i : i + 1], boxes))
        np.testing.assert_allclose(alone, batch[i : i + 1], **tolerance)


def test_the_tolerances_are_those_that_the_package_promises():
    assert tolerances.OPERATOR["float64"] == 1e-9 and tolerances.OPERATOR["float32"] == 1e-5
    assert tolerances.UNDERFLOW["float64"] < 1e-99
