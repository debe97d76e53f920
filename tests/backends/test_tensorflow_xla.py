"""The compiled ops under XLA: `jit_compile=True`."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import tf_boxconv
from tests.backend import tensorflow_only
from tests.ops.problems import DTYPES, random_problem
from tests.ops.test_box_conv import run
from tests.ops.test_box_conv_gradients import second_order
from tf_boxconv import backends
from tf_boxconv.layers import BoxBottleneck, BoxConv2D, DepthwiseBoxConv2D

tf = pytest.importorskip("tensorflow")
pytestmark = [
    tensorflow_only,
    pytest.mark.skipif(not backends.native_supports_jit(), reason="built without XLA"),
]

ROOT = Path(__file__).resolve().parents[2]
# Each problem takes XLA a second or so.
SEEDS = range(3000, 3010)


def compiled(function):
    return tf.function(function, jit_compile=True, reduce_retracing=False)


def under_xla(function, *arguments):
    """Calls `function`, with arguments of any kind, compiled."""
    return compiled(lambda: function(*arguments))()


def assert_same_bits(actual, expected):
    assert actual.shape == expected.shape and actual.dtype == expected.dtype
    np.testing.assert_array_equal(
        np.atleast_1d(actual.numpy()).view(np.uint8), np.atleast_1d(expected.numpy()).view(np.uint8)
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_as_without_xla(dtype):
    for seed in SEEDS:
        problem = random_problem(seed, dtype)
        expected = run(tf_boxconv.box_conv2d, problem)
        actual = under_xla(run, tf_boxconv.box_conv2d, problem)
        for a, e in zip(actual, expected, strict=True):
            assert_same_bits(a, e)


@pytest.mark.parametrize("normalization", ["area", "valid", None])
def test_same_bits_where_several_threads_share_the_work(normalization):
    x = tf.random.stateless_normal([3, 70, 66, 40], [0, 1])
    boxes = tf.random.stateless_uniform([40, 2, 4], [2, 3], 0.6, 20) * [-1, -1, 1, 1]

    def results(x, boxes):
        with tf.GradientTape() as tape:
            tape.watch([x, boxes])
            out = tf_boxconv.box_conv2d(x, boxes, 2, normalization)
        return out, *tape.gradient(out, [x, boxes], output_gradients=out)

    for a, e in zip(compiled(results)(x, boxes), results(x, boxes), strict=True):
        assert_same_bits(a, e)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("table_dtype", ["float32", "float64"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_integral_image(dtype, table_dtype, data_format):
    x = tf.cast(tf.random.stateless_normal([2, 5, 7, 9], [0, 1]), dtype)

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


@pytest.mark.parametrize("through", [("input",), ("boxes",), ("input", "boxes")])
def test_second_order(through):
    for seed in (2001, 2003, 2004):
        problem = random_problem(seed, "float64")
        expected = second_order(tf_boxconv.box_conv2d, problem, through)
        actual = under_xla(second_order, tf_boxconv.box_conv2d, problem, through)
        for a, e in zip(actual, expected, strict=True):
            scale = 1 + np.max(np.abs(e), initial=0)
            np.testing.assert_allclose(a, e, atol=1e-11 * scale, err_msg=f"seed {seed}")


def test_another_batch_size_is_compiled_anew():
    boxes = tf.constant([[[-1.5, -0.5, 1.0, 2.0]]] * 3)

    @tf.function(jit_compile=True, input_signature=[tf.TensorSpec([None, None, None, 3])])
    def convolve(x):
        return tf_boxconv.box_conv2d(x, boxes)

    for shape in ((1, 5, 6, 3), (4, 5, 6, 3), (4, 8, 3, 3), (1, 5, 6, 3)):
        x = tf.random.stateless_normal(shape, [0, 1])
        assert_same_bits(convolve(x), tf_boxconv.box_conv2d(x, boxes))


@pytest.mark.parametrize("normalization", ["area", "valid", None])
def test_batch_of_a_size_that_depends_on_values(normalization):
    """XLA gives such a batch room for the largest; what lies beyond its end must not count."""
    x = tf.random.stateless_normal([6, 9, 11, 3], [0, 1])
    # In the room of the images that are left out: anything.
    x = tf.concat([x, tf.fill([2, 9, 11, 3], float("nan"))], 0)
    boxes = tf.random.stateless_uniform([3, 2, 4], [2, 3], 0.6, 4) * [-1, -1, 1, 1]

    def results(x, boxes, mask):
        with tf.GradientTape() as tape:
            tape.watch([x, boxes])
            chosen = tf.boolean_mask(x, mask)
            out = tf_boxconv.box_conv2d(chosen, boxes, 2, normalization)
        gradients = tape.gradient(out, [x, boxes], output_gradients=out)
        return out, tf_boxconv.integral_image(chosen), *gradients

    function = compiled(results)
    for mask in ([1, 0, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 0, 0], [0] * 8):
        mask = tf.constant(mask) != 0
        actual, expected = function(x, boxes, mask), results(x, boxes, mask)
        for a, e in zip(actual, expected, strict=True):
            assert_same_bits(a, e)


def test_other_axis_of_a_size_that_depends_on_values_is_refused():
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
def test_bad_input_is_an_error(x_shape, boxes_shape, message):
    """Of shapes that only the compiler sees, and the process goes on."""
    unknown = tf.TensorSpec(None)

    @tf.function(jit_compile=True, input_signature=[unknown, unknown])
    def convolve(x, boxes):
        return tf_boxconv.box_conv2d(x, boxes)

    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        convolve(tf.zeros(x_shape), tf.zeros(boxes_shape))
    good = convolve(tf.ones([1, 4, 4, 3]), tf.constant([[[-0.5, -0.5, 0.5, 0.5]]] * 3))
    np.testing.assert_array_equal(good, tf.ones([1, 4, 4, 3]))


def hlo_of(function, *arguments):
    return compiled(function).experimental_get_compiler_ir(*arguments)(stage="hlo")


def test_handlers_are_called():
    boxes = tf.constant([[[-1.5, -0.5, 1.0, 2.0]]] * 3)
    text = hlo_of(lambda x: tf_boxconv.box_conv2d(x, boxes), tf.zeros([1, 5, 6, 3]))
    assert "tf_boxconv_forward" in text and "dot(" not in text


# Runs in a process whose environment forces XLA's own operations.
PORTABLE = """
import sys
import numpy as np, tensorflow as tf, tf_boxconv
from tests import reference
from tests.ops.problems import random_problem
from tests.ops.test_box_conv import check_against_reference
from tests.backends.test_tensorflow_xla import compiled, hlo_of

boxes = tf.constant([[[-1.5, -0.5, 1.0, 2.0]]] * 3)
text = hlo_of(lambda x: tf_boxconv.box_conv2d(x, boxes), tf.zeros([1, 5, 6, 3]))
assert "custom-call" not in text and "dot(" in text, text
for seed in range(4000, 4008):
    check_against_reference(compiled(tf_boxconv.box_conv2d), random_problem(seed, sys.argv[1]))

# A derivative on a pixel border is that of the growing box; empty boxes and ones with a NaN count
# for nothing.
x = np.random.default_rng(0).normal(size=(1, 6, 5, 4))
nan = float("nan")
boxes = np.array([[[-1.5, -0.5, 0.5, 2.5]], [[1, 1, 1, 2]], [[2, 0, -1, 1]], [[nan, 0, 1, 1]]])
for normalization in ("area", "valid", None):
    def results(x, boxes):
        with tf.GradientTape() as tape:
            tape.watch([x, boxes])
            out = tf_boxconv.box_conv2d(x, boxes, normalization=normalization)
        return out, *tape.gradient(out, [x, boxes], output_gradients=out)
    out, to_x, to_boxes = compiled(results)(tf.constant(x), tf.constant(boxes))
    expected = reference.box_conv2d(x, boxes, normalization=normalization)
    np.testing.assert_allclose(out, expected, atol=1e-12)
    gradients = reference.box_conv2d_gradients(x, boxes, expected, normalization=normalization)
    np.testing.assert_allclose(to_x, gradients[0], atol=1e-12)
    np.testing.assert_allclose(to_boxes, gradients[1], atol=1e-12)
    assert not np.any(out[..., 1:]) and not np.any(to_boxes[1:])

for data_format in ("channels_last", "channels_first"):
    for shape in ((2, 5, 7, 3), (2, 0, 3, 1), (0, 2, 3, 1)):
        x = np.random.default_rng(0).normal(size=shape)
        table = compiled(tf_boxconv.integral_image)(tf.constant(x), data_format)
        np.testing.assert_allclose(table, reference.integral_image(x, data_format), atol=1e-12)
print("DONE")
"""


@pytest.mark.parametrize("dtype", DTYPES)
def test_portable_lowering(dtype):
    done = subprocess.run(
        [sys.executable, "-c", PORTABLE, dtype],
        env={**os.environ, "TF_BOXCONV_XLA": "portable", "TF_CPP_MIN_LOG_LEVEL": "3"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip().endswith("DONE"), done.stderr[-3000:]


@pytest.mark.parametrize("layer", [DepthwiseBoxConv2D, BoxConv2D, BoxBottleneck])
def test_layers_train_compiled(layer):
    """A model whose steps XLA compiles learns as one whose steps it does not, also on a last batch
    that is smaller."""
    x = np.random.default_rng(0).normal(size=(10, 12, 11, 8)).astype(np.float32)
    losses = []
    for jit_compile in (True, False):
        keras.utils.set_random_seed(0)
        arguments = {"filters": 8} if layer is BoxConv2D else {}
        box_layer = layer(**arguments)
        assert box_layer.supports_jit
        model = keras.Sequential([keras.Input(x.shape[1:]), box_layer])
        model.compile(keras.optimizers.SGD(0.05), "mse", jit_compile=jit_compile)
        assert model.jit_compile == jit_compile
        history = model.fit(x, np.tanh(x), batch_size=4, epochs=3, shuffle=False, verbose=0)
        losses.append(history.history["loss"])
    assert losses[0][-1] < losses[0][0]
    np.testing.assert_allclose(*losses, rtol=1e-4)
