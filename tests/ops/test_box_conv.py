"""`box_conv2d` against the float64 reference: values and first gradients."""

import numpy as np
import pytest
import tensorflow as tf

import tf_boxconv
from tests import reference
from tests.ops.problems import (
    DTYPES,
    SMALLEST,
    TOLERANCE,
    assert_close,
    random_problem,
    to_float64,
)
from tf_boxconv.ops.box_conv_overlap import box_conv2d_overlap

PROBLEMS_A_CASE = 20
SEEDS = range(0, 160, PROBLEMS_A_CASE)  # 160 problems for each of 4 dtypes


def value_and_gradients(operator, problem):
    boxes = tf.constant(problem.boxes)
    with tf.GradientTape() as tape:
        tape.watch([problem.x, boxes])
        out = operator(problem.x, boxes, **problem.options)
    gradients = tape.gradient(out, [problem.x, boxes], output_gradients=problem.output_grad)
    return out, *gradients


def check_against_reference(operator, problem):
    x, g = to_float64(problem.x), to_float64(problem.output_grad)
    boxes, options, dtype = problem.boxes, problem.options, problem.dtype
    out, input_grad, boxes_grad = value_and_gradients(operator, problem)
    assert out.dtype == problem.x.dtype == input_grad.dtype
    assert boxes_grad.dtype == boxes.dtype
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
    assert_close(boxes_grad, expected_boxes_grad, boxes_magnitude, boxes_grad.dtype.name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("first_seed", SEEDS)
def test_random_problems(dtype, first_seed):
    for seed in range(first_seed, first_seed + PROBLEMS_A_CASE):
        check_against_reference(tf_boxconv.box_conv2d, random_problem(seed, dtype))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_stock_op_path_on_random_problems(dtype):
    for seed in range(1000, 1030):
        check_against_reference(box_conv2d_overlap, random_problem(seed, dtype))


def test_identity_and_mean():
    x = tf.random.normal([2, 7, 9, 3], seed=1)
    identity = np.tile(np.float32([-0.5, -0.5, 0.5, 0.5]), (3, 1, 1))
    np.testing.assert_allclose(tf_boxconv.box_conv2d(x, identity), x, atol=1e-6)
    mean = tf_boxconv.box_conv2d(x, 3 * identity, normalization="valid")
    expected = tf.nn.avg_pool2d(x, 3, 1, "SAME")  # which also divides by the part inside
    np.testing.assert_allclose(mean, expected, atol=1e-6)


def test_output_channels_are_channel_major():
    x = tf.concat([tf.fill([1, 5, 5, 1], 1.0), tf.fill([1, 5, 5, 1], 10.0)], -1)
    half = np.float32([-0.5, -0.5, 0.5, 0.5])
    boxes = np.stack([[half, 3 * half], [half, 3 * half]])
    out = tf_boxconv.box_conv2d(x, boxes, normalization=None)
    np.testing.assert_allclose(out[0, 2, 2], [1, 9, 10, 90], rtol=1e-6)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("channels", [1, 15, 16, 17, 40])
def test_channel_blocks(channels, data_format):
    """Channels-last planes are taken in blocks: whole ones, partial ones and single ones."""
    rng = np.random.default_rng(channels)
    shape = (2, 6, 5, channels) if data_format == "channels_last" else (2, channels, 6, 5)
    x = rng.normal(size=shape)
    boxes = np.sort(rng.uniform(-4, 4, (channels, 3, 2, 2)), axis=2).reshape(channels, 3, 4)
    options = {"strides": (1, 2), "normalization": "area", "data_format": data_format}
    out = tf_boxconv.box_conv2d(x, boxes, **options)
    np.testing.assert_allclose(out, reference.box_conv2d(x, boxes, **options), atol=1e-12)


@pytest.mark.parametrize("fill", ["bright", "ramp", "spike"])
def test_float32_on_a_large_plane(fill):
    """A float32 table of such planes has lost the small boxes; ours must not."""
    size = 1024
    ramp = np.linspace(0, 1000, size, dtype=np.float32)
    planes = {
        "bright": np.random.default_rng(0).normal(1000, 1, (size, size)),
        "ramp": ramp[:, None] + ramp[None, :],
        "spike": np.pad([[1e6]], ((3, size - 4), (5, size - 6))) + 0.1,
    }
    x = planes[fill].astype(np.float32)[None, :, :, None]
    boxes = np.float32([[[-0.7, -0.7, 0.7, 0.7], [-1, -1, 30.2, 20], [-200, -3, 100, 400]]])
    out = to_float64(tf_boxconv.box_conv2d(x, boxes))
    expected = reference.box_conv2d(x, boxes)
    assert np.max(np.abs(out - expected) / (expected + 1e-30)) < 1e-5


@pytest.mark.parametrize("normalization", ["area", "valid", None])
def test_numeric_gradient(normalization):
    """Analytic gradients against central differences, away from pixel borders."""
    rng = np.random.default_rng(3)
    x = tf.constant(rng.normal(size=(2, 6, 7, 2)))
    first = [[-1.3, -0.2, 2.1, 3.4], [0.7, -5.2, 1.9, 0.1]]
    second = [[-9.8, -9.3, 9.9, 9.6], [2, 1, 2.3, 5.2]]
    boxes = tf.constant([first, second], tf.float64)
    weights = tf.constant(rng.normal(size=(2, 3, 4, 4)))

    def loss(x, boxes):
        out = tf_boxconv.box_conv2d(x, boxes, strides=2, normalization=normalization)
        return tf.reduce_sum(out * weights)

    theoretical, numerical = tf.test.compute_gradient(loss, [x, boxes], delta=1e-5)
    for analytic, finite in zip(theoretical, numerical, strict=True):
        np.testing.assert_allclose(analytic, finite, atol=2e-8)


@pytest.mark.parametrize("edge", range(4))
@pytest.mark.parametrize("box", [(-1.5, -0.5, 0.5, 2.5), (-2.5, -3.5, 7.5, 0.5)])
def test_derivative_on_a_border_is_outward(box, edge):
    x = tf.constant(np.random.default_rng(5).normal(size=(1, 6, 5, 1)))
    boxes = tf.constant([[list(box)]], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(boxes)
        out = tf.reduce_sum(tf_boxconv.box_conv2d(x, boxes) ** 2)
    outward = 1e-7 * (-1 if edge < 2 else 1)
    grown = tf.tensor_scatter_nd_add(boxes, [[0, 0, edge]], tf.constant([outward], tf.float64))
    difference = tf.reduce_sum(tf_boxconv.box_conv2d(x, grown) ** 2) - out
    np.testing.assert_allclose(
        tape.gradient(out, boxes)[0, 0, edge], difference / outward, rtol=1e-5, atol=1e-6
    )


def test_same_in_a_graph_with_unknown_shapes():
    problem = random_problem(12, "float32")
    spec = tf.TensorSpec([None, None, None, None], tf.float32)
    signature = [spec, tf.TensorSpec([None, None, 4], tf.float32), spec]

    @tf.function(input_signature=signature)
    def graph(x, boxes, output_grad):
        with tf.GradientTape() as tape:
            tape.watch([x, boxes])
            out = tf_boxconv.box_conv2d(x, boxes, **problem.options)
        return out, *tape.gradient(out, [x, boxes], output_gradients=output_grad)

    eager = value_and_gradients(tf_boxconv.box_conv2d, problem)
    traced = graph(problem.x, tf.constant(problem.boxes), problem.output_grad)
    for a, b in zip(eager, traced, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_static_shapes(data_format):
    last = data_format == "channels_last"

    def traced_shape(shape):
        @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32)])
        def function(x):
            return tf_boxconv.box_conv2d(x, tf.zeros([3, 5, 4]), (2, 3), "area", data_format)

        return tuple(function.get_concrete_function().output_shapes)

    if last:
        assert traced_shape([None, 7, 7, 3]) == (None, 4, 3, 15)
        assert traced_shape([2, None, 6, None]) == (2, None, 2, 15)
    else:
        assert traced_shape([None, 3, 7, 7]) == (None, 15, 4, 3)
        assert traced_shape([2, None, 6, None]) == (2, 15, 3, None)


def test_result_does_not_depend_on_the_split_of_work():
    """The same planes, alone and among others, give the same bits, gradients of boxes aside."""
    x = tf.random.normal([5, 33, 31, 24], seed=4)
    boxes = tf.random.uniform([24, 2, 4], -9, -0.5, seed=5) * [1, 1, -1, -1]
    whole = tf_boxconv.box_conv2d(x, boxes)
    for i in range(5):
        np.testing.assert_array_equal(tf_boxconv.box_conv2d(x[i : i + 1], boxes), whole[i : i + 1])


def test_tolerances_are_those_of_the_promise():
    assert TOLERANCE["float64"] == 1e-9 and TOLERANCE["float32"] == 1e-5
    assert SMALLEST["float64"] < 1e-99
