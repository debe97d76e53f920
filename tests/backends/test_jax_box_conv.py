"""The operators under JAX's transformations: jit, grad and vmap."""

import concurrent.futures
import functools

import numpy as np
import pytest

import tf_boxconv
from tests import reference, tolerances
from tests.backend import BACKEND, to_float64
from tests.images import DATA_FORMATS, images
from tests.ops.problems import DTYPES, random_problem
from tf_boxconv import box_conv2d, integral_image

if BACKEND != "jax":
    pytest.skip(f"needs JAX; Keras's backend is {BACKEND}", allow_module_level=True)

import jax
import jax.numpy as jnp

from tests.backends.jax_functions import (
    BOXES,
    HANDLER_CALL,
    X,
    assert_equal_trees,
    compiled_text,
    expected_loss,
    loss,
    penalty_of,
    value_and_gradients_of,
)
from tf_boxconv.backends.jax import calls

# Values and first gradients.


@functools.cache
def tensorflow_ops():
    tf = pytest.importorskip("tensorflow")
    return tf.load_op_library(tf_boxconv.library_path())


def results_of_tensorflow(problem):
    """Returns the output and both gradients of a problem, computed by TensorFlow's ops."""
    import tensorflow as tf

    arguments = {"input": tf.constant(np.asarray(problem.x)), "boxes": tf.constant(problem.boxes)}
    attributes = {
        "strides": problem.strides,
        "normalization": problem.normalization or "none",
        "data_format": "NHWC" if problem.data_format == "channels_last" else "NCHW",
    }
    ops = tensorflow_ops()
    with tf.device("CPU"):
        gradients = ops.box_conv_box_conv2d_grad(
            **arguments, output_grad=np.asarray(problem.output_grad), **attributes
        )
        return ops.box_conv_box_conv2d(**arguments, **attributes), *gradients


@pytest.mark.parametrize("seed", range(5000, 5015))
@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_as_the_tensorflow_op(dtype, seed):
    tensorflow_ops()
    problem = random_problem(seed, dtype)
    operator = functools.partial(box_conv2d, **problem.options)
    out, gradients = jax.vjp(operator, problem.x, jnp.asarray(problem.boxes))
    found = (out, *gradients(problem.output_grad))
    for a, e in zip(found, results_of_tensorflow(problem), strict=True):
        assert a.dtype == e.dtype.as_numpy_dtype
        assert np.asarray(a).tobytes() == e.numpy().tobytes()


def test_gradients_with_and_without_jit_checkpoint_and_donation():
    expected = jax.jit(value_and_gradients_of(expected_loss))(X, BOXES)
    for function in (loss, jax.checkpoint(loss), jax.jit(loss)):
        assert_equal_trees(value_and_gradients_of(function)(X, BOXES), expected)
    donating = jax.jit(value_and_gradients_of(loss), donate_argnums=(0, 1))
    assert_equal_trees(donating(jnp.array(X), jnp.array(BOXES)), expected)


def test_second_order():
    expected = jax.jit(value_and_gradients_of(penalty_of(expected_loss)))(X, BOXES)
    for function in (loss, jax.checkpoint(loss)):
        assert_equal_trees(
            jax.jit(value_and_gradients_of(penalty_of(function)))(X, BOXES), expected
        )


def test_third_order_of_the_input():

    def third(loss):
        def norm(x):
            return jnp.sum(jax.grad(lambda x: jnp.sum(loss(x, BOXES) ** 2))(x) ** 2)

        return jax.jit(jax.grad(lambda x: jnp.sum(jax.grad(norm)(x) ** 3)))

    assert_equal_trees(third(loss)(X), third(expected_loss)(X))


# vmap.


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0), (2, 1)])
@pytest.mark.parametrize("order", ["value", "gradients", "second order"])
def test_vmap(axes, order):
    wrap = {
        "value": lambda f: f,
        "gradients": value_and_gradients_of,
        "second order": lambda f: jax.grad(penalty_of(f), (0, 1)),
    }[order]
    x, boxes = (
        array if axis is None else np.stack([array, 1.3 * array, 0.7 * array], axis)
        for array, axis in zip((X, BOXES), axes, strict=True)
    )
    actual, expected = (jax.jit(jax.vmap(wrap(f), axes))(x, boxes) for f in (loss, expected_loss))
    assert_equal_trees(actual, expected)


def test_vmap_of_vmap():
    x, boxes = np.stack([X, X + 1]), np.stack([BOXES, 0.7 * BOXES, 1.1 * BOXES])

    def nested_vmap(f):
        return jax.jit(jax.vmap(jax.vmap(value_and_gradients_of(f), (0, None)), (None, 0)))

    assert_equal_trees(nested_vmap(loss)(x, boxes), nested_vmap(expected_loss)(x, boxes))


def test_gradient_of_vmap_and_per_example_gradients_are_native():
    """vmap must not become a loop over single calls."""
    per_example = jax.vmap(jax.grad(lambda b, x: loss(x[None], b)), (None, 0))
    text = compiled_text(per_example, BOXES, X)
    assert text.count(HANDLER_CALL + "backward") == 1
    assert "while(" not in text
    expected = jax.vmap(jax.grad(lambda b, x: expected_loss(x[None], b)), (None, 0))
    assert_equal_trees(jax.jit(per_example)(BOXES, X), jax.jit(expected)(BOXES, X))

    def total(f):
        return jax.jit(jax.grad(lambda b, x: jnp.sum(jax.vmap(lambda x: f(x[None], b))(x))))

    assert_equal_trees(total(loss)(BOXES, X), total(expected_loss)(BOXES, X))


# Integral images, platforms, threads, bad input.


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("table_dtype", ["float32", "float64"])
@pytest.mark.parametrize("data_format", DATA_FORMATS)
def test_integral_image(dtype, table_dtype, data_format):
    x = jnp.asarray(X, dtype)
    expected = reference.integral_image(to_float64(x), data_format)
    table = integral_image(x, data_format, table_dtype)
    assert table.dtype == table_dtype
    np.testing.assert_allclose(table, expected, rtol=1e-6, atol=1e-4)
    np.testing.assert_allclose(
        jax.vmap(lambda x: integral_image(x[None], data_format, table_dtype)[0])(x), table
    )


def test_integral_image_gradients():
    def of(table):
        return jax.grad(lambda x: jnp.sum(jax.grad(lambda x: jnp.sum(table(x) ** 3))(x) ** 2))

    def in_jax(x):
        return jnp.cumsum(jnp.cumsum(jnp.pad(x, ((0, 0), (1, 0), (1, 0), (0, 0))), 1), 2)

    assert_equal_trees(of(integral_image)(X), of(in_jax)(X))


def test_platforms_without_a_handler_run_the_portable_path(monkeypatch):
    """TPUs take this path. Here the CPU is made to take it."""
    monkeypatch.setattr(calls, "NATIVE_PLATFORMS", [])
    cached = (calls.forward, calls.backward, calls.integral_image)
    for function in cached:
        function.cache_clear()
    x = np.stack([X, X + 1])
    function = jax.jit(jax.vmap(value_and_gradients_of(loss), (0, None)))
    assert HANDLER_CALL not in compiled_text(function, x, BOXES)
    expected = jax.jit(jax.vmap(value_and_gradients_of(expected_loss), (0, None)))(x, BOXES)
    assert_equal_trees(function(x, BOXES), expected)
    for data_format in DATA_FORMATS:
        table = integral_image(X, data_format)
        np.testing.assert_allclose(
            table, reference.integral_image(X, data_format), **tolerances.VALUES["float64"]
        )
    for function in cached:
        function.cache_clear()


def test_calls_from_many_threads_do_not_deadlock():
    """All of XLA's threads may be inside handlers that wait for threads."""
    x = jnp.asarray(images((2, 96, 96, 32)))
    boxes = jnp.tile(jnp.asarray([-9.5, -9.5, 9.5, 9.5], "float32"), (32, 1, 1))
    function = jax.jit(jax.grad(lambda x, b: jnp.sum(box_conv2d(x, b) ** 2), (0, 1)))
    expected = function(x, boxes)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: jax.block_until_ready(function(x, boxes)), range(64)):
            assert_equal_trees(found, expected, tolerance=0)


@pytest.mark.parametrize("shape", [(0, 5, 6, 3), (2, 0, 6, 3), (2, 5, 6, 0)])
@pytest.mark.parametrize("per_channel", [0, 2])
def test_sizes_of_zero(shape, per_channel):
    x, boxes = jnp.ones(shape), jnp.ones((shape[-1], per_channel, 4))
    out, gradients = jax.vjp(box_conv2d, x, boxes)
    assert out.shape == (*shape[:3], shape[3] * per_channel)
    assert_equal_trees(gradients(out), (jnp.zeros_like(x), jnp.zeros_like(boxes)))
    assert not jnp.any(integral_image(x))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": X[0]}, r"`input` must have rank 4 or more.*\[7, 9, 6\]"),
        ({"x": X.astype(np.int32)}, "`input` must be float16, bfloat16, float32 or float64"),
        ({"boxes": BOXES[..., :3]}, r"`boxes` must have shape \[..., C, M, 4\], got \[6, 2, 3\]"),
        ({"boxes": BOXES[:5]}, r"`boxes` must have one row per channel.*\[5, 2, 4\]"),
        ({"boxes": BOXES[None]}, "`boxes` must have the leading axes of `input`"),
        ({"boxes": BOXES.astype("float32")}, "`boxes` must be float64, got float32"),
        ({"out": (4, 7, 9, 11)}, r"`output` must have shape \[4, 7, 9, 12\], got"),
        ({"strides": np.array([1, 0])}, r"`strides` must be two positive.*\[1, 0\]"),
        ({"strides": np.array([1])}, "`strides` must be two positive"),
        ({"normalization": "mean"}, "`normalization` must be none, area or valid, got mean"),
        ({"data_format": "HWC"}, "`data_format` must be NHWC or NCHW, got HWC"),
    ],
)
def test_handlers_refuse_bad_arguments(change, message):
    """Called directly, without the package's own checks."""
    arguments = {"x": X, "boxes": BOXES, "out": (4, 7, 9, 12), "strides": np.array([1, 1])}
    arguments |= {"normalization": "area", "data_format": "NHWC"} | change
    x, boxes, out = (arguments.pop(name) for name in ("x", "boxes", "out"))
    call = jax.ffi.ffi_call("tf_boxconv_forward", jax.ShapeDtypeStruct(out, x.dtype))
    with pytest.raises(jax.errors.JaxRuntimeError, match=message):
        jax.block_until_ready(call(x, boxes, **arguments))


def test_float64_tables_need_jax_enable_x64():
    with jax.enable_x64(False):
        assert integral_image(X.astype("float32")).dtype == "float32"
        with pytest.raises(ValueError, match="jax_enable_x64"):
            integral_image(X.astype("float32"), dtype="float64")
