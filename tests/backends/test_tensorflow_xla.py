"""The compiled operators under XLA, that is with `jit_compile=True`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import tf_boxconv
from tests import tolerances
from tests.backend import tensorflow_only
from tests.boxes import boxes_around_pixel
from tests.images import DATA_FORMATS, images
from tests.ops import separable_problems
from tests.ops.problems import (
    DTYPES,
    output_and_gradients,
    random_problem,
    second_order_gradients,
)
from tests.seeds import seed_weights
from tf_boxconv import backends
from tf_boxconv.layers import BoxBottleneck, BoxConv2D, DepthwiseBoxConv2D

tf = pytest.importorskip("tensorflow")

from tests.backends import portable_lowering  # noqa: E402
from tests.backends.xla import compiled, hlo_of  # noqa: E402

pytestmark = [
    tensorflow_only,
    pytest.mark.skipif(not backends.native_supports_jit(), reason="built without XLA"),
    pytest.mark.usefixtures("fused_on_all_planes"),
]

ROOT = Path(__file__).resolve().parents[2]


def under_xla(function, *arguments):
    """Compiles and calls `function`. Its arguments need not be tensors."""
    return compiled(lambda: function(*arguments))()


def assert_same_bits(actual, expected):
    assert actual.shape == expected.shape and actual.dtype == expected.dtype
    np.testing.assert_array_equal(
        np.atleast_1d(actual.numpy()).view(np.uint8), np.atleast_1d(expected.numpy()).view(np.uint8)
    )


# XLA takes about a second to compile each problem.
@pytest.mark.parametrize("seed", range(3000, 3006))
@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_as_without_xla(dtype, seed):
    problem = random_problem(seed, dtype)
    expected = output_and_gradients(tf_boxconv.box_conv2d, problem)
    actual = under_xla(output_and_gradients, tf_boxconv.box_conv2d, problem)
    for a, e in zip(actual, expected, strict=True):
        assert_same_bits(a, e)


@pytest.mark.parametrize("seed", range(3000, 3003))
@pytest.mark.parametrize("dtype", DTYPES)
def test_separable_has_the_same_bits_as_without_xla(dtype, seed):
    problem = separable_problems.random_separable_problem(seed, dtype)
    arguments = (tf_boxconv.separable_box_conv2d, problem)
    expected = separable_problems.output_and_gradients(*arguments)
    actual = under_xla(separable_problems.output_and_gradients, *arguments)
    for a, e in zip(actual, expected, strict=True):
        assert_same_bits(a, e)


@pytest.mark.parametrize("normalization", ["area", "valid", None])
def test_same_bits_if_several_threads_share_the_work(normalization):
    x = tf.constant(images((3, 70, 66, 40)))
    boxes = tf.constant(boxes_around_pixel(40, 2, reach=20), tf.float32)

    def results(x, boxes):
        with tf.GradientTape() as tape:
            tape.watch([x, boxes])
            out = tf_boxconv.box_conv2d(x, boxes, 2, normalization)
        return out, *tape.gradient(out, [x, boxes], output_gradients=out)

    for a, e in zip(compiled(results)(x, boxes), results(x, boxes), strict=True):
        assert_same_bits(a, e)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("table_dtype", ["float32", "float64"])
@pytest.mark.parametrize("data_format", DATA_FORMATS)
def test_integral_image(dtype, table_dtype, data_format):
    x = tf.cast(images((2, 5, 7, 9)), dtype)

    def results(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            table = tf_boxconv.integral_image(x, data_format, table_dtype)
        return table, tape.gradient(table, x, output_gradients=table)

    for a, e in zip(compiled(results)(x), results(x), strict=True):
        assert_same_bits(a, e)


@pytest.mark.parametrize("shape", [(0, 5, 6, 3), (2, 0, 6, 3), (2, 5, 6, 0), (2, 5, 6, 3)])
@pytest.mark.parametrize("per_channel", [0, 2])
def test_sizes_of_zero(shape, per_channel):
    x, boxes = tf.ones(shape), tf.zeros([shape[-1], per_channel, 4]) + [-1.0, -1, 1, 1]

    def results(x, boxes):
        with tf.GradientTape() as tape:
            tape.watch([x, boxes])
            out = tf_boxconv.box_conv2d(x, boxes)
        return out, tf_boxconv.integral_image(x), *tape.gradient(out, [x, boxes])

    for a, e in zip(compiled(results)(x, boxes), results(x, boxes), strict=True):
        assert_same_bits(a, e)


@pytest.mark.parametrize(
    "sizes",
    [(0, 5, 6, 3, 2, 4), (2, 0, 6, 3, 2, 4), (2, 5, 6, 0, 2, 4), (2, 5, 6, 3, 0, 4)]
    + [(2, 5, 6, 3, 2, 0)],
)
def test_separable_sizes_of_zero(sizes):
    *shape, per_channel, filters = sizes
    x, boxes = tf.ones(shape), tf.zeros([shape[-1], per_channel, 4]) + [-1.0, -1, 1, 1]
    arguments = [x, boxes, tf.ones([shape[-1] * per_channel, filters]), tf.ones([filters])]

    def results(*arguments):
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            out = tf_boxconv.separable_box_conv2d(*arguments)
        return out, *tape.gradient(out, arguments)

    for a, e in zip(compiled(results)(*arguments), results(*arguments), strict=True):
        assert_same_bits(a, e)


@pytest.mark.parametrize("through", [("kernel",), ("input", "boxes", "kernel", "bias")])
def test_separable_second_order(through):
    problem = separable_problems.random_separable_problem(2003, "float64")
    arguments = (tf_boxconv.separable_box_conv2d, problem, through)
    expected = separable_problems.second_order_gradients(*arguments)
    actual = under_xla(separable_problems.second_order_gradients, *arguments)
    for a, e in zip(actual, expected, strict=True):
        scale = 1 + np.max(np.abs(e), initial=0)
        np.testing.assert_allclose(a / scale, e / scale, **tolerances.DERIVATIVES["float64"])


@pytest.mark.parametrize(
    ("through", "seed"),
    [
        (("input",), 2001),
        (("boxes",), 2003),
        (("input", "boxes"), 2001),
        (("input", "boxes"), 2003),
        (("input", "boxes"), 2004),
    ],
)
def test_second_order(through, seed):
    problem = random_problem(seed, "float64")
    expected = second_order_gradients(tf_boxconv.box_conv2d, problem, through)
    actual = under_xla(second_order_gradients, tf_boxconv.box_conv2d, problem, through)
    for a, e in zip(actual, expected, strict=True):
        scale = 1 + np.max(np.abs(e), initial=0)
        np.testing.assert_allclose(a / scale, e / scale, **tolerances.DERIVATIVES["float64"])


def test_another_batch_size_is_compiled_anew():
    boxes = tf.constant([[[-1.5, -0.5, 1.0, 2.0]]] * 3)

    @tf.function(jit_compile=True, input_signature=[tf.TensorSpec([None, None, None, 3])])
    def convolve(x):
        return tf_boxconv.box_conv2d(x, boxes)

    for shape in ((1, 5, 6, 3), (4, 5, 6, 3), (4, 8, 3, 3), (1, 5, 6, 3)):
        x = tf.constant(images(shape))
        assert_same_bits(convolve(x), tf_boxconv.box_conv2d(x, boxes))


@pytest.mark.parametrize("normalization", ["area", "valid", None])
def test_batch_whose_size_depends_on_values(normalization):
    """XLA allocates the largest size. Values beyond the end of the batch must have no effect."""
    # The last two images, which no mask chooses, hold NaNs.
    x = tf.concat([images((6, 9, 11, 3)), tf.fill([2, 9, 11, 3], float("nan"))], 0)
    boxes = tf.constant(boxes_around_pixel(3, 2, reach=4), tf.float32)
    kernel, bias = tf.constant(images((6, 4), seed=1)), tf.constant(images((4,), seed=2))

    def results(x, boxes, mask):
        weights = [x, boxes, kernel, bias]
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(weights)
            chosen = tf.boolean_mask(x, mask)
            out = tf_boxconv.box_conv2d(chosen, boxes, 2, normalization)
            mixed = tf_boxconv.separable_box_conv2d(chosen, boxes, kernel, bias, 2, normalization)
        gradients = tape.gradient(out, [x, boxes], output_gradients=out)
        of_mixed = tape.gradient(mixed, weights, output_gradients=mixed)
        return out, mixed, tf_boxconv.integral_image(chosen), *gradients, *of_mixed

    function = compiled(results)
    for mask in ([1, 0, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 0, 0], [0] * 8):
        mask = tf.constant(mask) != 0
        actual, expected = function(x, boxes, mask), results(x, boxes, mask)
        for a, e in zip(actual, expected, strict=True):
            assert_same_bits(a, e)


def test_any_other_axis_whose_size_depends_on_values_is_refused():
    @tf.function(jit_compile=True)
    def convolve(x, mask):
        return tf_boxconv.box_conv2d(tf.boolean_mask(x, mask, axis=1), [[[-1.0, -1, 1, 1]]] * 3)

    with pytest.raises(
        tf.errors.UnimplementedError, match=r"but no other dynamic axis. Got `input`"
    ):
        convolve(tf.zeros([2, 4, 5, 3]), tf.constant([True, False, True, True]))


@pytest.mark.parametrize(
    ("x_shape", "boxes_shape", "message"),
    [
        ((1, 4, 4, 2), (3, 1, 4), "`boxes` must have one row per channel of `input`"),
        ((1, 4, 4, 3), (3, 1, 5), r"`boxes` must have shape \[C, M, 4\]"),
        ((4, 4, 3), (3, 1, 4), "`input` must have rank 4"),
    ],
)
def test_bad_shapes_found_by_the_compiler_are_an_error(x_shape, boxes_shape, message):
    """The next call works again."""
    unknown = tf.TensorSpec(None)

    @tf.function(jit_compile=True, input_signature=[unknown, unknown])
    def convolve(x, boxes):
        return tf_boxconv.box_conv2d(x, boxes)

    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        convolve(tf.zeros(x_shape), tf.zeros(boxes_shape))
    good = convolve(tf.ones([1, 4, 4, 3]), tf.constant([[[-0.5, -0.5, 0.5, 0.5]]] * 3))
    np.testing.assert_array_equal(good, tf.ones([1, 4, 4, 3]))


def test_handlers_are_called():
    boxes, kernel = tf.constant([[[-1.5, -0.5, 1.0, 2.0]]] * 3), tf.ones([3, 4])
    for function, handler in (
        (lambda x: tf_boxconv.box_conv2d(x, boxes), "tf_boxconv_forward"),
        (
            lambda x: tf_boxconv.separable_box_conv2d(x, boxes, kernel),
            "tf_boxconv_separable_forward",
        ),
    ):
        text = hlo_of(function, tf.zeros([1, 5, 6, 3]))
        assert f'"{handler}"' in text and "dot(" not in text


@pytest.mark.parametrize(
    ("kernel_shape", "bias_shape", "message"),
    [
        ((3,), (4,), r"`kernel` must have shape \[C \* M, filters\], got \[3\]"),
        ((2, 4), (4,), r"one row per box, got kernel \[2,4\] and boxes \[3,1,4\]"),
        ((3, 4), (3,), r"`bias` must have shape .*\[4\], got \[3\]"),
    ],
)
def test_bad_kernels_and_biases_found_by_the_compiler_are_an_error(
    kernel_shape, bias_shape, message
):
    unknown = tf.TensorSpec(None)

    @tf.function(jit_compile=True, input_signature=[unknown, unknown])
    def convolve(kernel, bias):
        x, boxes = tf.zeros([1, 4, 4, 3]), tf.zeros([3, 1, 4])
        return tf_boxconv.separable_box_conv2d(x, boxes, kernel, bias)

    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        convolve(tf.zeros(kernel_shape), tf.zeros(bias_shape))


@pytest.fixture(scope="module")
def errors_of_portable_lowering() -> dict[str, str | None]:
    """Runs all checks of `portable_lowering.py` in one process."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.backends.portable_lowering"],
        env={**os.environ, "TF_BOXCONV_XLA": "portable", "TF_CPP_MIN_LOG_LEVEL": "3"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("check", portable_lowering.CHECKS)
def test_portable_lowering(check, errors_of_portable_lowering):
    error = errors_of_portable_lowering[check]
    assert error is None, error


@pytest.mark.parametrize("layer", [DepthwiseBoxConv2D, BoxConv2D, BoxBottleneck])
def test_training_with_xla_gives_the_same_losses(layer):
    """The last batch is smaller than the others."""
    x = images((10, 12, 11, 8))
    losses = []
    for jit_compile in (True, False):
        seed_weights(0)
        arguments = {"filters": 8} if layer is BoxConv2D else {}
        box_layer = layer(**arguments)
        assert box_layer.supports_jit
        model = keras.Sequential([keras.Input(x.shape[1:]), box_layer])
        model.compile(keras.optimizers.SGD(0.05), "mse", jit_compile=jit_compile)
        assert model.jit_compile == jit_compile
        history = model.fit(x, np.tanh(x), batch_size=4, epochs=3, shuffle=False, verbose=0)
        losses.append(history.history["loss"])
    assert losses[0][-1] < losses[0][0]
    np.testing.assert_allclose(*losses, **tolerances.MODELS["float32"])
