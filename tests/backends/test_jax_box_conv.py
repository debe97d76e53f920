"""The operators under JAX's transformations: jit, grad, vmap, and sharding over two devices."""

import concurrent.futures
import functools
import re

import numpy as np
import pytest

import tf_boxconv
from tests import reference
from tests.backend import BACKEND, to_float64
from tests.boxes import boxes_around_pixel
from tests.images import DATA_FORMATS, images
from tests.ops.problems import DTYPES, random_problem
from tests.tolerances import VALUES
from tf_boxconv import box_conv2d, integral_image

if BACKEND != "jax":
    pytest.skip(f"needs JAX; Keras's backend is {BACKEND}", allow_module_level=True)

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from tests.backends.jax_reference import box_conv2d_reference
from tf_boxconv.backends.jax import calls

X = images((4, 7, 9, 6), dtype=np.float64)
BOXES = boxes_around_pixel(6, 2, reach=4, seed=1)
OPTIONS = {"strides": (2, 1), "normalization": "valid"}


def loss_of(operator):
    return lambda x, boxes: jnp.sum(jnp.sin(operator(x, boxes, **OPTIONS)))


loss, expected_loss = loss_of(box_conv2d), loss_of(box_conv2d_reference)


def penalty_of(loss):
    """A function of first gradients, whose own gradients are of second order."""

    def penalty(x, boxes):
        to_x, to_boxes = jax.grad(loss, (0, 1))(x, boxes)
        return jnp.sum(to_x**2) + jnp.sum(jnp.tanh(to_boxes))

    return penalty


def gradients_of(function):
    return jax.value_and_grad(function, (0, 1))


# How a compiled program names a call to a handler.
CALL = 'custom_call_target="tf_boxconv_'


def compiled_text(function, *arguments):
    return jax.jit(function).lower(*arguments).compile().as_text()


def assert_equal_trees(actual, expected, tolerance=1e-10):
    """Compares all arrays, each to `tolerance` times its largest element."""
    actual, expected = jax.tree.leaves(actual), jax.tree.leaves(expected)
    for a, e in zip(actual, expected, strict=True):
        assert a.shape == e.shape and a.dtype == e.dtype
        scale = 1 + np.max(np.abs(e), initial=0)
        np.testing.assert_allclose(a, e, atol=tolerance * scale)


# Values and first gradients.


@functools.cache
def tensorflow_ops():
    tf = pytest.importorskip("tensorflow")
    return tf.load_op_library(tf_boxconv.library_path())


def by_tensorflow(problem):
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
    for a, e in zip(found, by_tensorflow(problem), strict=True):
        assert a.dtype == e.dtype.as_numpy_dtype
        assert np.asarray(a).tobytes() == e.numpy().tobytes()


def test_gradients_with_and_without_jit_checkpoint_and_donation():
    expected = jax.jit(gradients_of(expected_loss))(X, BOXES)
    for function in (loss, jax.checkpoint(loss), jax.jit(loss)):
        assert_equal_trees(gradients_of(function)(X, BOXES), expected)
    donating = jax.jit(gradients_of(loss), donate_argnums=(0, 1))
    assert_equal_trees(donating(jnp.array(X), jnp.array(BOXES)), expected)


def test_second_order():
    expected = jax.jit(gradients_of(penalty_of(expected_loss)))(X, BOXES)
    for function in (loss, jax.checkpoint(loss)):
        assert_equal_trees(jax.jit(gradients_of(penalty_of(function)))(X, BOXES), expected)


def test_third_order_of_the_input():
    """By native calls alone."""

    def third(loss):
        def norm(x):
            return jnp.sum(jax.grad(lambda x: jnp.sum(loss(x, BOXES) ** 2))(x) ** 2)

        return jax.jit(jax.grad(lambda x: jnp.sum(jax.grad(norm)(x) ** 3)))

    assert_equal_trees(third(loss)(X), third(expected_loss)(X))


# vmap.


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0), (2, 1)])
@pytest.mark.parametrize("what", ["value", "gradients", "second order"])
def test_vmap(axes, what):
    wrap = {
        "value": lambda f: f,
        "gradients": gradients_of,
        "second order": lambda f: jax.grad(penalty_of(f), (0, 1)),
    }[what]
    x, boxes = (
        array if axis is None else np.stack([array, 1.3 * array, 0.7 * array], axis)
        for array, axis in zip((X, BOXES), axes, strict=True)
    )
    actual, expected = (jax.jit(jax.vmap(wrap(f), axes))(x, boxes) for f in (loss, expected_loss))
    assert_equal_trees(actual, expected)


def test_vmap_of_vmap():
    x, boxes = np.stack([X, X + 1]), np.stack([BOXES, 0.7 * BOXES, 1.1 * BOXES])

    def both(f):
        return jax.jit(jax.vmap(jax.vmap(gradients_of(f), (0, None)), (None, 0)))

    assert_equal_trees(both(loss)(x, boxes), both(expected_loss)(x, boxes))


def test_gradient_of_vmap_and_per_example_gradients_are_native():
    """vmap must not become a loop over single calls."""
    per_example = jax.vmap(jax.grad(lambda b, x: loss(x[None], b)), (None, 0))
    text = compiled_text(per_example, BOXES, X)
    assert text.count(CALL + "backward") == 1
    assert "while(" not in text
    expected = jax.vmap(jax.grad(lambda b, x: expected_loss(x[None], b)), (None, 0))
    assert_equal_trees(jax.jit(per_example)(BOXES, X), jax.jit(expected)(BOXES, X))

    def total(f):
        return jax.jit(jax.grad(lambda b, x: jnp.sum(jax.vmap(lambda x: f(x[None], b))(x))))

    assert_equal_trees(total(loss)(BOXES, X), total(expected_loss)(BOXES, X))


# Sharding.

MESH = Mesh(np.array(jax.devices()), ("data",))
COLLECTIVES = ("all-gather", "all-reduce", "all-to-all", "collective-permute", "reduce-scatter")


def sharded(array, *spec):
    return jax.device_put(array, NamedSharding(MESH, P(*spec)))


def collectives(function, *arguments):
    text = compiled_text(function, *arguments)
    assert CALL in text
    return {name: n for name in COLLECTIVES if (n := len(re.findall(rf" {name}(-start)?\(", text)))}


def test_there_are_two_devices():
    assert jax.device_count() == 2


@pytest.mark.parametrize("data_format", DATA_FORMATS)
def test_data_parallel(data_format):
    """Images stay on their devices. The gradients of boxes are summed over devices once."""

    def value_and_gradients(x, boxes):
        return gradients_of(
            lambda x, b: jnp.sum(jnp.sin(box_conv2d(x, b, data_format=data_format)))
        )(x, boxes)

    x = X if data_format == "channels_last" else np.moveaxis(X, -1, 1)
    expected = value_and_gradients(x, BOXES)
    arguments = sharded(x, "data"), sharded(BOXES)
    value, (to_x, to_boxes) = jax.jit(value_and_gradients)(*arguments)
    assert_equal_trees((value, (to_x, to_boxes)), expected)
    assert to_x.sharding.spec[0] == "data" and to_boxes.sharding.is_fully_replicated
    found = collectives(value_and_gradients, *arguments)
    assert set(found) == {"all-reduce"}
    shapes = (out.sharding.shard_shape(out.shape) for out in (to_x, to_boxes))
    assert list(shapes) == [(2, *x.shape[1:]), BOXES.shape]


def test_shard_map():
    """Gradients to what all devices share are summed over the devices, at every order."""

    def by_device(function):
        specs = P("data"), P()
        return jax.jit(
            jax.shard_map(jax.grad(function, (0, 1)), mesh=MESH, in_specs=specs, out_specs=specs)
        )

    for wrap in (lambda f: f, penalty_of):
        actual, expected = (by_device(wrap(f))(X, BOXES) for f in (loss, expected_loss))
        assert_equal_trees(actual, expected)
    assert_equal_trees(by_device(loss)(X, BOXES), jax.grad(loss, (0, 1))(X, BOXES))


@pytest.mark.parametrize(("channels", "per_channel"), [(6, 1), (1, 2), (1, 1)])
def test_data_parallel_with_one_box_or_channel(channels, per_channel):
    x, boxes = X[..., :channels], BOXES[:channels, :per_channel]
    arguments = sharded(x, "data"), sharded(boxes)
    assert_equal_trees(jax.jit(gradients_of(loss))(*arguments), gradients_of(loss)(x, boxes))
    assert set(collectives(gradients_of(loss), *arguments)) == {"all-reduce"}


def test_channels_may_be_sharded():
    expected = gradients_of(loss)(X, BOXES)
    arguments = sharded(X, None, None, None, "data"), sharded(BOXES, "data")
    assert_equal_trees(jax.jit(gradients_of(loss))(*arguments), expected)
    # Only the loss itself needs a sum over devices.
    assert not collectives(jax.grad(loss, (0, 1)), *arguments)


@pytest.mark.parametrize("spec", [P("data"), P(None, None, None, "data"), P()])
def test_meshes_with_explicit_axes(spec):
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    expected = jax.grad(loss, (0, 1))(X, BOXES), jax.grad(penalty_of(loss), (0, 1))(X, BOXES)
    with jax.set_mesh(mesh):
        x = jax.device_put(X, NamedSharding(mesh, spec))
        boxes = jax.device_put(BOXES, NamedSharding(mesh, P()))
        out = jax.jit(box_conv2d)(x, boxes)
        assert jax.typeof(out).sharding.spec == P(*spec, *[None] * (4 - len(spec)))
        assert "all-gather" not in compiled_text(box_conv2d, x, boxes)
        actual = jax.jit(jax.grad(loss, (0, 1)))(x, boxes)
        assert_equal_trees(actual, expected[0])
        assert_equal_trees(jax.jit(jax.grad(penalty_of(loss), (0, 1)))(x, boxes), expected[1])
        table = jax.jit(jax.grad(lambda x: jnp.sum(integral_image(x) ** 2)))(x)
        assert jax.typeof(table).sharding.spec == jax.typeof(x).sharding.spec


def test_planes_that_are_sharded_themselves_are_gathered():
    """This is slow but correct."""
    x = np.concatenate([X, X], 1)[:, :8]
    arguments = sharded(x, None, "data"), sharded(BOXES)
    assert_equal_trees(jax.jit(gradients_of(loss))(*arguments), gradients_of(loss)(x, BOXES))


def test_batches_that_the_devices_do_not_divide():
    x, boxes = X[:3, ..., :5], BOXES[:5]

    @jax.jit
    def constrained(x, boxes):
        x = jax.lax.with_sharding_constraint(x, NamedSharding(MESH, P("data")))
        return gradients_of(loss)(x, boxes)

    assert_equal_trees(constrained(sharded(x), sharded(boxes)), gradients_of(loss)(x, boxes))


def test_vmap_over_a_sharded_axis():
    x = np.stack([X, X + 1])
    arguments = sharded(x, "data"), sharded(BOXES)
    function = jax.vmap(jax.grad(loss, (0, 1)), (0, None))
    assert_equal_trees(jax.jit(function)(*arguments), function(x, BOXES))
    assert not collectives(function, *arguments)


def test_the_integral_image_of_a_sharded_batch():
    table = jax.jit(integral_image)(sharded(X, "data"))
    assert table.sharding.spec[0] == "data"
    np.testing.assert_allclose(table, reference.integral_image(X), **VALUES["float64"])
    assert not collectives(integral_image, sharded(X, "data"))


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
    cached = (calls.forward, calls.backward, calls.table)
    for function in cached:
        function.cache_clear()
    x = np.stack([X, X + 1])
    function = jax.jit(jax.vmap(gradients_of(loss), (0, None)))
    assert CALL not in compiled_text(function, x, BOXES)
    expected = jax.jit(jax.vmap(gradients_of(expected_loss), (0, None)))(x, BOXES)
    assert_equal_trees(function(x, BOXES), expected)
    for data_format in DATA_FORMATS:
        table = integral_image(X, data_format)
        np.testing.assert_allclose(
            table, reference.integral_image(X, data_format), **VALUES["float64"]
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
