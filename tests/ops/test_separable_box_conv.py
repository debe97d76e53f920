"""`separable_box_conv2d` against the float64 reference, its second order, and bad input."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

import tf_boxconv
from tests import reference, tolerances
from tests.backend import BACKEND, central_differences, tensor, to_float64, value_and_gradients
from tests.boxes import boxes_anywhere
from tests.images import DATA_FORMATS, image_shape, images
from tests.ops.problems import DTYPES, make_problem
from tests.ops.separable_problems import (
    check_against_reference,
    random_separable_problem,
    second_order_gradients,
    with_kernel,
)
from tf_boxconv import separable_box_conv2d

# All backends run the same kernels, so the others need fewer. JAX compiles each problem anew.
PROBLEM_COUNT = 80 if BACKEND == "tensorflow" else 16
FILTERS = [7, 65] if BACKEND == "jax" else [1, 7, 8, 17, 65]
portable = functools.partial(separable_box_conv2d, implementation="portable")
both_formats = pytest.mark.parametrize("data_format", DATA_FORMATS)
pytestmark = pytest.mark.usefixtures("fused_on_all_planes")


@pytest.mark.parametrize("seed", range(5000, 5000 + PROBLEM_COUNT))
@pytest.mark.parametrize("dtype", DTYPES)
def test_random_problems(dtype, seed):
    check_against_reference(separable_box_conv2d, random_separable_problem(seed, dtype))


@pytest.mark.parametrize("seed", range(6000, 6000 + PROBLEM_COUNT // 8))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_portable_path_on_random_problems(dtype, seed):
    check_against_reference(portable, random_separable_problem(seed, dtype))


def problem_of_shape(
    height, width, channels, per_channel, filters, data_format, dtype="float32", strides=(1, 1)
):
    """Makes a problem with two images of this size, and boxes that reach at most 9 pixels."""
    out = (2, channels * per_channel, -(-height // strides[0]), -(-width // strides[1]))
    box_conv = make_problem(
        images((2, channels, height, width), seed=channels, dtype=np.float64),
        boxes_anywhere(channels, per_channel, reach=9, seed=channels),
        np.zeros(out),
        *(dtype, strides, "area", data_format),
    )
    return with_kernel(box_conv, filters, seed=filters)


@both_formats
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("filters", FILTERS)
@pytest.mark.parametrize("channels", [1, 16, 33])
def test_any_number_of_channels_and_filters(channels, filters, dtype, data_format):
    """The kernels process both in groups, which may be full, partial or single."""
    problem = problem_of_shape(7, 5, channels, 3, filters, data_format, dtype)
    check_against_reference(separable_box_conv2d, problem)


@both_formats
def test_more_responses_than_fit_into_a_cache(data_format):
    problem = problem_of_shape(5, 9, 260, 4, 36, data_format)
    check_against_reference(separable_box_conv2d, problem)


@both_formats
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
@pytest.mark.parametrize(("height", "width"), [(210, 70), (33, 400), (1, 999), (999, 1)])
def test_planes_of_several_tiles(height, width, strides, data_format):
    problem = problem_of_shape(height, width, 3, 2, 5, data_format, strides=strides)
    check_against_reference(separable_box_conv2d, problem)


@both_formats
def test_a_kernel_that_is_the_identity_returns_the_responses(data_format):
    x = images(image_shape(data_format, channels=4))
    boxes = boxes_anywhere(4, 2, reach=4).astype(np.float32)
    out = separable_box_conv2d(x, boxes, np.eye(8), data_format=data_format)
    expected = tf_boxconv.box_conv2d(x, boxes, data_format=data_format)
    np.testing.assert_allclose(
        to_float64(out), to_float64(expected), **tolerances.VALUES["float32"]
    )


@pytest.mark.parametrize("implementation", ["native", "portable"])
def test_without_a_bias_nothing_is_added(implementation):
    problem = random_separable_problem(5, "float32")
    x, boxes, kernel, _ = problem.arguments
    options = {**problem.options, "implementation": implementation}
    zeros = ops.zeros(kernel.shape[1:])
    np.testing.assert_array_equal(
        to_float64(separable_box_conv2d(x, boxes, kernel, **options)),
        to_float64(separable_box_conv2d(x, boxes, kernel, zeros, **options)),
    )


def test_lists_and_arrays_take_the_dtype_of_the_images():
    x = images((1, 4, 5, 1), dtype=np.float64)
    boxes, kernel, bias = [[[-1.5, -1.5, 1.5, 1.5]]], np.float32([[2, 3]]), [1, 2]
    out = separable_box_conv2d(tensor(x), boxes, kernel, bias)
    expected = reference.separable_box_conv2d(x, boxes, kernel, bias)
    np.testing.assert_allclose(to_float64(out), expected, **tolerances.VALUES["float64"])


# NaNs.


@both_formats
@pytest.mark.parametrize("height", [12, 230])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_bad_pixel_reaches_only_output_pixels_with_a_box_on_it(value, height, data_format):
    clean = images((2, 3, height, 21), seed=1)
    bad = clean.copy()
    bad[1, 2, 5, 8] = value
    # All boxes of the channel lie inside the first one.
    boxes = np.float32([[[-3.3, -2.2, 1.4, 0.9], [-1.2, -0.4, 0.3, 0.1]]] * 3)
    kernel, bias = images((6, 10), seed=2), images((10,), seed=3)
    expected, out = (
        to_float64(
            separable_box_conv2d(
                np.moveaxis(x, 1, -1) if data_format == "channels_last" else x,
                *(boxes, kernel, bias),
                data_format=data_format,
            )
        )
        for x in (clean, bad)
    )
    if data_format == "channels_first":
        expected, out = np.moveaxis(expected, 1, -1), np.moveaxis(out, 1, -1)
    rows, columns = np.arange(height)[:, None], np.arange(21)[None, :]
    near = (rows - 3.3 < 5.5) & (rows + 1.4 > 4.5) & (columns - 2.2 < 8.5) & (columns + 0.9 > 7.5)
    assert not np.any(np.isfinite(out[1][near]))
    far = np.ones((2, height, 21), bool)
    far[1] = ~near
    np.testing.assert_allclose(out[far], expected[far], **tolerances.VALUES["float32"])


def test_a_nan_in_the_upstream_gradient_reaches_only_pixels_in_its_boxes():
    x, g = images((2, 15, 21, 2), seed=1), images((2, 15, 21, 4), seed=2)
    boxes = np.float32([[[-3.3, -2.2, 1.4, 0.9], [-1.2, -0.4, 0.3, 0.1]]] * 2)
    kernel, bias = images((4, 4), seed=3), images((4,), seed=4)
    arguments = [tensor(a) for a in (x, boxes, kernel, bias)]
    bad = g.copy()
    bad[0, 7, 9, 2] = np.nan
    _, (expected, *_) = value_and_gradients(separable_box_conv2d, arguments, tensor(g))
    _, gradients = value_and_gradients(separable_box_conv2d, arguments, tensor(bad))
    input_grad, boxes_grad, kernel_grad, bias_grad = map(to_float64, gradients)
    rows, columns = np.arange(15)[:, None], np.arange(21)[None, :]
    near = (rows > 7 - 3.8) & (rows < 7 + 1.9) & (columns > 9 - 2.7) & (columns < 9 + 1.4)
    assert np.all(np.isnan(input_grad[0][near]))
    far = np.ones((2, 15, 21), bool)
    far[0] = ~near
    np.testing.assert_allclose(
        input_grad[far], to_float64(expected)[far], **tolerances.VALUES["float32"]
    )
    assert np.all(np.isnan(boxes_grad))
    assert np.array_equal(np.isnan(kernel_grad), np.tile([False, False, True, False], (4, 1)))
    assert np.array_equal(np.isnan(bias_grad), [False, False, True, False])


# Sizes of zero.


@both_formats
@pytest.mark.parametrize(
    ("batch", "height", "width", "channels", "per_channel", "filters"),
    [
        (0, 6, 5, 3, 2, 4),
        (2, 0, 5, 3, 2, 4),
        (2, 6, 0, 3, 2, 4),
        (2, 6, 5, 0, 2, 4),
        (2, 6, 5, 3, 0, 4),
        (2, 6, 5, 3, 2, 0),
        (0, 0, 0, 0, 0, 0),
    ],
)
def test_sizes_of_zero(batch, height, width, channels, per_channel, filters, data_format):
    shape = image_shape(data_format, height, width, channels, batch)
    arguments = [
        np.ones(shape, np.float32),
        np.ones((channels, per_channel, 4), np.float32),
        np.ones((channels * per_channel, filters), np.float32),
        np.full(filters, 3, np.float32),
    ]
    out, gradients = value_and_gradients(
        lambda *tensors: separable_box_conv2d(*tensors, strides=2, data_format=data_format),
        [tensor(a) for a in arguments],
    )
    size = -(-height // 2), -(-width // 2)
    assert out.shape == image_shape(data_format, *size, filters, batch)
    # The boxes are empty, so only the bias contributes.
    assert np.all(to_float64(out) == 3)
    for gradient, argument in zip(gradients, arguments, strict=True):
        assert tuple(gradient.shape) == argument.shape
    input_grad, boxes_grad, kernel_grad, bias_grad = map(to_float64, gradients)
    assert np.all(input_grad == 0) and np.all(boxes_grad == 0) and np.all(kernel_grad == 0)
    assert np.all(bias_grad == batch * size[0] * size[1])


# Second order.


@pytest.mark.parametrize("seed", range(7000, 7008 if BACKEND == "tensorflow" else 7003))
@pytest.mark.parametrize(
    "through",
    [("input",), ("boxes",), ("kernel",), ("bias",), ("input", "boxes", "kernel", "bias")],
    ids="+".join,
)
def test_second_order_on_random_problems(through, seed):
    problem = random_separable_problem(seed, "float64")
    actual = second_order_gradients(separable_box_conv2d, problem, through)
    expected = second_order_gradients(portable, problem, through)
    for a, e in zip(map(to_float64, actual), map(to_float64, expected), strict=True):
        scale = 1 + np.max(np.abs(e), initial=0)
        np.testing.assert_allclose(a / scale, e / scale, **tolerances.DERIVATIVES["float64"])


def test_second_order_equals_central_differences():
    """No edge is on a pixel border, where derivatives have two values."""
    boxes = np.array([[[-1.3, -0.2, 2.1, 1.4], [0.7, -2.2, 1.9, 0.1]]])
    arguments = [
        images((1, 4, 5, 1), dtype=np.float64),
        boxes,
        images((2, 3), seed=1, dtype=np.float64),
        images((3,), seed=2, dtype=np.float64),
    ]

    def penalty(*arguments):
        def score(*arguments):
            return ops.sum(separable_box_conv2d(*arguments) ** 3)

        _, gradients = value_and_gradients(score, arguments)
        return sum(ops.sum(gradient**2) for gradient in gradients)

    _, analytic = value_and_gradients(penalty, [tensor(a) for a in arguments])
    finite = central_differences(penalty, arguments)
    for a, f in zip(analytic, finite, strict=True):
        np.testing.assert_allclose(to_float64(a), f, **tolerances.CENTRAL_DIFFERENCES)


# Bad input.

X = images((2, 6, 5, 3))
BOXES = np.tile(np.float32([-1.5, -1.5, 1.5, 1.5]), (3, 2, 1))
KERNEL, BIAS = images((6, 4), seed=1), images((4,), seed=2)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"x": X[0]}, ValueError, r"`x` must have rank 4.*\(6, 5, 3\)"),
        ({"x": X.astype(np.int32)}, TypeError, r"`x` must be float16.*int32"),
        ({"boxes": BOXES[0]}, ValueError, r"`boxes` must have shape \[C, M, 4\].*\(2, 4\)"),
        ({"kernel": KERNEL[0]}, ValueError, r"`kernel` must have shape \[C \* M, filters\].*\(4,"),
        (
            {"kernel": KERNEL[:5]},
            ValueError,
            r"`kernel` must have shape .* one row for each box, 6.*\(5, 4\).*\(3, 2, 4\)",
        ),
        (
            {"kernel": tensor(KERNEL, "float16")},
            TypeError,
            r"`kernel` must have the dtype of `x`, float32.*kernel.dtype=float16; convert it",
        ),
        (
            {"bias": BIAS[:3]},
            ValueError,
            r"`bias` must have shape \[filters\]: one value for each column.*\(3,\).*\(6, 4\)",
        ),
        ({"bias": BIAS[None]}, ValueError, r"`bias` must have shape \[filters\].*\(1, 4\)"),
        ({"bias": np.float32(1)}, ValueError, r"`bias` must have shape \[filters\].*\(\)"),
        (
            {"bias": tensor(BIAS, "bfloat16")},
            TypeError,
            r"`bias` must have the dtype of `x`, float32.*bias.dtype=bfloat16; convert it",
        ),
        ({"strides": 0}, ValueError, r"`strides` must be.*0"),
        ({"normalization": "mean"}, ValueError, r"`normalization` must be.*'mean'"),
        ({"data_format": "NHWC"}, ValueError, r"`data_format` must be.*'NHWC'"),
        ({"implementation": "fast"}, ValueError, r"`implementation` must be.*'fast'"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    correct = {"x": X, "boxes": BOXES, "kernel": KERNEL, "bias": BIAS}
    with pytest.raises(error, match=message):
        separable_box_conv2d(**{**correct, **arguments})
    if "x" in arguments or keras.ops.is_tensor(next(iter(arguments.values()))):
        return
    with pytest.raises(error, match=message):
        separable_box_conv2d(**{**correct, "x": keras.Input((6, 5, 3)), **arguments})
