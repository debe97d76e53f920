"""`box_conv2d` against the float64 reference: values and first gradients."""

import dataclasses

import keras
import numpy as np
import pytest

import tf_boxconv
from tests import reference
from tests.backend import (
    BACKEND,
    box_conv2d_portable,
    dtype_name,
    tensor,
    to_float64,
    value_and_gradients,
)
from tests.ops.problems import (
    DTYPES,
    SMALLEST,
    TOLERANCE,
    assert_close,
    problem_of,
    random_problem,
)

# 160 problems for each of 4 dtypes. JAX compiles each of them anew, for a few tenths of a second.
PROBLEMS_A_CASE = 5 if BACKEND == "jax" else 20
SEEDS = range(0, 8 * PROBLEMS_A_CASE, PROBLEMS_A_CASE)


def run(operator, problem):
    """The output and the gradients to the input and the boxes."""
    out, gradients = value_and_gradients(
        lambda x, boxes: operator(x, boxes, **problem.options),
        [problem.x, tensor(problem.boxes)],
        problem.output_grad,
    )
    return out, *gradients


def check_against_reference(operator, problem):
    x, g = to_float64(problem.x), to_float64(problem.output_grad)
    boxes, options, dtype = problem.boxes, problem.options, problem.dtype
    out, input_grad, boxes_grad = run(operator, problem)
    assert dtype_name(out) == dtype_name(input_grad) == dtype
    assert dtype_name(boxes_grad) == boxes.dtype
    assert_close(
        out,
        reference.box_conv2d(x, boxes, **options),
        reference.box_conv2d(abs(x), boxes, **options),
        dtype,
    )
    expected_input_grad, expected_boxes_grad = reference.box_conv2d_gradients(
        x, boxes, g, **options
    )
    input_magnitude, boxes_magnitude = reference.box_conv2d_gradients(
        abs(x), boxes, abs(g), **options, magnitudes=True
    )
    assert_close(input_grad, expected_input_grad, input_magnitude, dtype)
    # Boxes' gradients are float32 at least whatever the images are.
    assert_close(boxes_grad, expected_boxes_grad, boxes_magnitude, dtype_name(boxes_grad))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("first_seed", SEEDS)
def test_random_problems(dtype, first_seed):
    for seed in range(first_seed, first_seed + PROBLEMS_A_CASE):
        check_against_reference(tf_boxconv.box_conv2d, random_problem(seed, dtype))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_portable_on_random_problems(dtype):
    for seed in range(1000, 1000 + PROBLEMS_A_CASE):
        check_against_reference(box_conv2d_portable, random_problem(seed, dtype))


def test_identity_and_mean():
    x = np.random.default_rng(1).normal(size=(2, 7, 9, 3)).astype(np.float32)
    identity = np.tile(np.float32([-0.5, -0.5, 0.5, 0.5]), (3, 1, 1))
    np.testing.assert_allclose(to_float64(tf_boxconv.box_conv2d(x, identity)), x, atol=1e-6)
    mean = tf_boxconv.box_conv2d(x, 3 * identity, normalization="valid")
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    np.testing.assert_allclose(to_float64(mean), np.nanmean(windows, axis=(-2, -1)), atol=1e-6)


def test_output_channels_are_channel_major():
    x = np.tile(np.float32([1, 10]), (1, 5, 5, 1))
    half = np.float32([-0.5, -0.5, 0.5, 0.5])
    boxes = np.stack([[half, 3 * half], [half, 3 * half]])
    out = tf_boxconv.box_conv2d(x, boxes, normalization=None)
    np.testing.assert_allclose(to_float64(out)[0, 2, 2], [1, 9, 10, 90], rtol=1e-6)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("channels", [1, 15, 16, 17, 40])
def test_channel_blocks(channels, data_format):
    """Channels-last planes are taken in blocks: whole ones, partial ones and single ones."""
    rng = np.random.default_rng(channels)
    shape = (2, 6, 5, channels) if data_format == "channels_last" else (2, channels, 6, 5)
    x = rng.normal(size=shape)
    boxes = np.sort(rng.uniform(-4, 4, (channels, 3, 2, 2)), axis=2).reshape(channels, 3, 4)
    options = {"strides": (1, 2), "normalization": "area", "data_format": data_format}
    out = to_float64(tf_boxconv.box_conv2d(tensor(x), boxes, **options))
    np.testing.assert_allclose(out, reference.box_conv2d(x, boxes, **options), atol=1e-12)


def tall_problem(data_format, strides, normalization, dtype="float64"):
    """Planes of several tiles along both axes, with boxes small, tall, wide, and beyond all."""
    rng = np.random.default_rng(7)
    height, width, channels, per_channel = 210, 1100, 3, 2
    boxes = rng.uniform(-1, 1, (channels, per_channel, 2, 2)) * [[40, 30]]
    boxes = np.sort(boxes, axis=2).reshape(channels, per_channel, 4)
    boxes[0, 0] = [-2.5, -0.5, 1.5, 3.5]
    boxes[1, 0] = [-900, -2000, 900, 2000]
    boxes[2, 1] = [30.5, -700, 33.25, -650.5]
    shape = (1, channels, height, width)
    out = (1, channels * per_channel, -(-height // strides[0]), -(-width // strides[1]))
    x, g = rng.normal(size=shape), rng.normal(size=out)
    return problem_of(x, boxes, g, dtype, strides, normalization, data_format)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
@pytest.mark.parametrize("normalization", ["area", "valid"])
def test_planes_of_several_tiles(data_format, strides, normalization):
    problem = tall_problem(data_format, strides, normalization)
    check_against_reference(tf_boxconv.box_conv2d, problem)


def test_small_boxes_on_planes_of_several_tiles():
    """Boxes that reach few pixels leave bands short, so that there are many."""
    problem = tall_problem("channels_last", (1, 1), "area", "float32")
    boxes = np.clip(problem.boxes, -3.25, 4.5)
    check_against_reference(tf_boxconv.box_conv2d, dataclasses.replace(problem, boxes=boxes))


@pytest.mark.parametrize("fill", ["bright", "constant", "ramp", "spike"])
def test_float32_on_a_large_plane(fill):
    """A float32 table of such planes has lost the small boxes, and plain float32 sums the large
    ones; ours must not."""
    size = 2048
    ramp = np.linspace(0, 1000, size, dtype=np.float32)
    planes = {
        "bright": np.random.default_rng(0).normal(1000, 1, (size, size)),
        "constant": np.full((size, size), 1000.1),
        "ramp": ramp[:, None] + ramp[None, :],
        "spike": np.pad([[1e6]], ((3, size - 4), (5, size - 6))) + 0.1,
    }
    x = planes[fill].astype(np.float32)[None, :, :, None]
    small, large = [-0.7, -0.7, 0.7, 0.7], [-900.3, -1100.2, 1020.1, 1000.7]
    boxes = np.float32([[small, [-1, -1, 30.2, 20], [-200, -3, 100, 400], large]])
    out = to_float64(tf_boxconv.box_conv2d(x, boxes))
    expected = reference.box_conv2d(x, boxes)
    assert np.max(np.abs(out - expected) / (expected + 1e-30)) < 1e-5


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_a_bad_pixel_harms_only_the_boxes_that_hold_or_touch_it(value):
    rng = np.random.default_rng(1)
    clean = rng.normal(size=(1, 70, 60, 3)).astype(np.float32)
    bad = clean.copy()
    bad[0, 30, 25, 1] = value
    boxes = np.float32([[[-1.3, -2.2, 1.4, 0.9]], [[-9.2, -20.4, 10.3, 8.1]], [[-2, -2, 2, 2]]])
    expected, out = (to_float64(tf_boxconv.box_conv2d(x, boxes)) for x in (clean, bad))
    rows, columns = np.arange(70)[:, None], np.arange(60)[None, :]
    y_min, x_min, y_max, x_max = boxes[1, 0]
    # One pixel more on each side: an edge on a pixel border touches the pixel beyond it.
    near = (rows + y_min - 1.5 <= 30) & (rows + y_max + 1.5 >= 30)
    near = near & (columns + x_min - 1.5 <= 25) & (columns + x_max + 1.5 >= 25)
    far = np.ones((70, 60, 3), bool)
    far[..., 1] = ~near
    np.testing.assert_array_equal(out[0][far], expected[0][far])


@pytest.mark.parametrize("box", [(-0.3, -0.2, 0.3, 0.1), (0.6, -1.4, 1.2, -0.7)])
def test_a_bad_pixel_harms_no_box_inside_its_neighbour(box):
    x = np.ones((1, 9, 20, 2), np.float32)
    x[0, 4, 5, 1] = np.nan
    out = to_float64(tf_boxconv.box_conv2d(x, np.float32([[box], [box]])))
    row, column = 4 - round(box[0]), 5 - round(box[1])
    np.testing.assert_array_equal(np.argwhere(np.isnan(out)), [[0, row, column, 1]])


@pytest.mark.parametrize("size", [1, 2, 3, 12, 13, 14, 15, 16, 64, 65, 130])
def test_every_way_of_summing_a_window(size):
    """Windows are summed pixel by pixel or by blocks; both, at and around their limits."""
    rng = np.random.default_rng(size)
    x = rng.normal(size=(1, 140, 133, 2))
    low = rng.uniform(-1.2 * size, 0.2 * size, (2, 3, 2))
    exact = np.floor(low) + 0.5  # on pixel borders
    boxes = np.concatenate([low, low + size], -1)
    boxes[:, 1] = np.concatenate([exact, exact + size], -1)[:, 1]
    for normalization in ("area", "valid"):
        out = to_float64(tf_boxconv.box_conv2d(tensor(x), boxes, normalization=normalization))
        expected = reference.box_conv2d(x, boxes, normalization=normalization)
        np.testing.assert_allclose(out, expected, atol=1e-12)


@pytest.mark.parametrize("normalization", ["area", "valid", None])
def test_numeric_gradient(normalization):
    """Analytic gradients against central differences, away from pixel borders."""
    rng = np.random.default_rng(3)
    first = [[-1.3, -0.2, 2.1, 3.4], [0.7, -5.2, 1.9, 0.1]]
    second = [[-9.8, -9.3, 9.9, 9.6], [2, 1, 2.3, 5.2]]
    arguments = [rng.normal(size=(2, 6, 7, 2)), np.array([first, second])]
    weights = tensor(rng.normal(size=(2, 3, 4, 4)))

    def loss(x, boxes):
        out = tf_boxconv.box_conv2d(x, boxes, strides=2, normalization=normalization)
        return keras.ops.sum(out * weights)

    _, analytic = value_and_gradients(loss, [tensor(a) for a in arguments])
    for found, finite in zip(analytic, central_differences(loss, arguments), strict=True):
        np.testing.assert_allclose(to_float64(found), finite, atol=2e-8)


def central_differences(function, arguments, delta=1e-5):
    """The gradient of a scalar function of arrays to each, element by element."""
    gradients = []
    for i, argument in enumerate(arguments):
        gradient = np.zeros_like(argument)
        for index in np.ndindex(argument.shape):
            values = []
            for step in (-delta, delta):
                moved = argument.copy()
                moved[index] += step
                given = [*arguments[:i], moved, *arguments[i + 1 :]]
                values.append(float(to_float64(function(*map(tensor, given)))))
            gradient[index] = (values[1] - values[0]) / (2 * delta)
        gradients.append(gradient)
    return gradients


@pytest.mark.parametrize("edge", range(4))
@pytest.mark.parametrize("box", [(-1.5, -0.5, 0.5, 2.5), (-2.5, -3.5, 7.5, 0.5)])
def test_derivative_on_a_border_is_outward(box, edge):
    x = tensor(np.random.default_rng(5).normal(size=(1, 6, 5, 1)))
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


def test_result_does_not_depend_on_the_split_of_work():
    """The same planes, alone and among others, give the same bits, gradients of boxes aside."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(5, 33, 31, 24)).astype(np.float32)
    boxes = rng.uniform(0.5, 9, (24, 2, 4)).astype(np.float32) * np.float32([-1, -1, 1, 1])
    whole = to_float64(tf_boxconv.box_conv2d(x, boxes))
    for i in range(5):
        alone = to_float64(tf_boxconv.box_conv2d(x[i : i + 1], boxes))
        np.testing.assert_array_equal(alone, whole[i : i + 1])


def test_tolerances_are_those_of_the_promise():
    assert TOLERANCE["float64"] == 1e-9 and TOLERANCE["float32"] == 1e-5
    assert SMALLEST["float64"] < 1e-99
