"""The separable box convolution under JAX's transformations, and sharded over two devices."""

import concurrent.futures

import numpy as np
import pytest

from tests.backend import BACKEND
from tests.boxes import boxes_around_pixel
from tests.images import images

if BACKEND != "jax":
    pytest.skip(f"needs JAX; Keras's backend is {BACKEND}", allow_module_level=True)

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from tests.backends.jax_functions import (
    BOXES,
    HANDLER_CALL,
    MESH,
    X,
    assert_equal_trees,
    collectives,
    compiled_text,
    sharded,
)
from tests.backends.jax_reference import box_conv2d_reference
from tf_boxconv.backends.jax import calls, separable_box_conv, separable_box_conv2d

KERNEL, BIAS = images((12, 5), seed=2, dtype=np.float64), images((5,), seed=3, dtype=np.float64)
ALL = (0, 1, 2, 3)  # x, boxes, kernel and bias
OPTIONS = [
    ((1, 1), "area", "channels_last"),
    ((2, 1), "valid", "channels_first"),
    ((1, 3), None, "channels_last"),
]
each_option_set = pytest.mark.parametrize("options", OPTIONS, ids=str)


def separable_reference(x, boxes, kernel, bias, *options):
    responses = box_conv2d_reference(x, boxes, *options)
    if options[-1] == "channels_last":
        return responses @ kernel + bias
    return jnp.einsum("nkij,kf->nfij", responses, kernel) + bias[:, None, None]


def arguments_of(options):
    x = X if options[-1] == "channels_last" else np.moveaxis(X, -1, 1)
    return x, BOXES, KERNEL, BIAS


def losses(options):
    """Returns a scalar function of the four arguments, by the operator and by the reference."""
    return [
        lambda *arguments, operator=operator: jnp.sum(jnp.sin(operator(*arguments, *options)))
        for operator in (separable_box_conv2d, separable_reference)
    ]


def gradients_of(function):
    return jax.value_and_grad(function, ALL)


def penalty_of(function):
    """Returns a function of all four gradients, to test second derivatives."""

    def penalty(*arguments):
        return sum(jnp.sum(jnp.tanh(g / 3)) for g in jax.grad(function, ALL)(*arguments))

    return penalty


# Values and gradients.


@each_option_set
@pytest.mark.parametrize("wrap", [lambda f: f, penalty_of], ids=["first order", "second order"])
def test_gradients_with_and_without_jit_and_checkpoint(options, wrap):
    loss, expected_loss = losses(options)
    arguments = arguments_of(options)
    expected = jax.jit(gradients_of(wrap(expected_loss)))(*arguments)
    for function in (loss, jax.checkpoint(loss)):
        assert_equal_trees(jax.jit(gradients_of(wrap(function)))(*arguments), expected)
    assert_equal_trees(gradients_of(wrap(loss))(*arguments), expected)


def test_second_order_of_each_gradient_alone():
    loss, expected_loss = losses(OPTIONS[0])
    arguments = arguments_of(OPTIONS[0])
    for i in ALL:
        actual, expected = (
            jax.jit(jax.grad(lambda *a, f=f, i=i: jnp.sum(jax.grad(f, i)(*a) ** 2), ALL))(
                *arguments
            )
            for f in (loss, expected_loss)
        )
        assert_equal_trees(actual, expected)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_narrow_types(dtype):
    """The operator has the dtype of the images; the gradients of boxes are float32."""
    x, boxes, kernel, bias = arguments_of(OPTIONS[0])
    narrow = [jnp.asarray(a, dtype) for a in (x, kernel, bias)]
    narrow.insert(1, jnp.asarray(boxes, "float32"))
    function, expected_function = (
        lambda *a, operator=operator: operator(*a, *OPTIONS[0])
        for operator in (separable_box_conv2d, separable_reference)
    )
    wide = [a.astype("float64") for a in narrow]
    out, pull = jax.vjp(function, *narrow)
    expected, expected_pull = jax.vjp(expected_function, *wide)
    gradients, expected_gradients = pull(out), expected_pull(out.astype("float64"))
    assert [g.dtype for g in gradients] == [dtype, "float32", dtype, dtype]
    tolerance = {"float32": 1e-5, "float16": 5e-3, "bfloat16": 4e-2}[dtype]
    for a, e in zip((out, *gradients), (expected, *expected_gradients), strict=True):
        assert_equal_trees(a.astype("float64"), e, tolerance)


def test_one_handler_call_for_each_pass():
    loss, _ = losses(OPTIONS[0])
    text = compiled_text(gradients_of(loss), *arguments_of(OPTIONS[0]))
    assert text.count(HANDLER_CALL) == 2
    assert text.count(HANDLER_CALL + "separable_forward") == 1
    assert text.count(HANDLER_CALL + "separable_backward") == 1


@pytest.mark.parametrize("shape", [(0, 5, 6, 3), (2, 0, 6, 3), (2, 5, 6, 0)])
@pytest.mark.parametrize(("per_channel", "filters"), [(0, 2), (2, 0), (2, 3)])
def test_sizes_of_zero(shape, per_channel, filters):
    x, boxes = jnp.ones(shape), jnp.ones((shape[-1], per_channel, 4))
    kernel, bias = jnp.ones((shape[-1] * per_channel, filters)), jnp.arange(1.0, filters + 1)
    out, pull = jax.vjp(lambda *a: separable_box_conv2d(*a, *OPTIONS[0]), x, boxes, kernel, bias)
    assert_equal_trees(out, jnp.broadcast_to(bias, (*shape[:3], filters)))
    *gradients, bias_grad = pull(out)
    assert_equal_trees(gradients, [jnp.zeros_like(a) for a in (x, boxes, kernel)])
    assert_equal_trees(bias_grad, out.sum((0, 1, 2)))


# vmap.


@pytest.mark.parametrize(
    "axes",
    [(0, None, None, None), (None, 0, None, None), (None, None, 0, 0), (0, 0, 0, 0), (2, 1, 1, 0)],
    ids=str,
)
@pytest.mark.parametrize("order", ["value", "gradients", "second order"])
def test_vmap(axes, order):
    options = OPTIONS[1]
    wrap = {
        "value": lambda f: f,
        "gradients": gradients_of,
        "second order": lambda f: jax.grad(penalty_of(f), ALL),
    }[order]
    arguments = [
        array if axis is None else np.stack([array, 1.3 * array, 0.7 * array], axis)
        for array, axis in zip(arguments_of(options), axes, strict=True)
    ]
    actual, expected = (jax.jit(jax.vmap(wrap(f), axes))(*arguments) for f in losses(options))
    assert_equal_trees(actual, expected)


def test_per_example_gradients_are_one_handler_call():
    loss, expected_loss = losses(OPTIONS[0])

    def per_example(f):
        return jax.vmap(jax.grad(lambda x, *weights: f(x[None], *weights), ALL), (0, *[None] * 3))

    text = compiled_text(per_example(loss), *arguments_of(OPTIONS[0]))
    assert text.count(HANDLER_CALL + "separable_backward") == 1
    assert "while(" not in text
    actual, expected = (
        jax.jit(per_example(f))(*arguments_of(OPTIONS[0])) for f in (loss, expected_loss)
    )
    assert_equal_trees(actual, expected)


# Platforms, threads, bad input.


@pytest.fixture
def clear_caches():
    """Makes the calls choose their platform again, before and after the test."""
    cached = (
        *(calls.forward, calls.backward),
        *(separable_box_conv._forward_call, separable_box_conv._backward_call),
    )
    for function in cached:
        function.cache_clear()
    yield
    for function in cached:
        function.cache_clear()


@each_option_set
@pytest.mark.parametrize("handlers", ["none", "of box_conv2d only"])
def test_platforms_without_the_handlers_run_the_composition(
    handlers, options, monkeypatch, clear_caches
):
    """TPUs have no handlers, GPUs only those of `box_conv2d`. Here the CPU is made to be like them.

    `jax.vmap` and second derivatives work as well.
    """
    if handlers == "none":
        monkeypatch.setattr(calls, "NATIVE_PLATFORMS", [])
    else:
        operator = calls.operator
        monkeypatch.setattr(
            calls,
            "operator",
            lambda native, other, platforms=None: operator(
                native, other, ("cuda",) if platforms == ("cpu",) else platforms
            ),
        )
    loss, expected_loss = losses(options)
    arguments = arguments_of(options)
    text = compiled_text(gradients_of(loss), *arguments)
    assert HANDLER_CALL + "separable" not in text
    assert (HANDLER_CALL in text) is (handlers != "none")
    for wrap in (gradients_of, lambda f: jax.grad(penalty_of(f), ALL)):
        actual, expected = (jax.jit(wrap(f))(*arguments) for f in (loss, expected_loss))
        assert_equal_trees(actual, expected)
    x, *weights = arguments
    xs, axes = np.stack([x, x + 1]), (0, None, None, None)
    actual, expected = (
        jax.jit(jax.vmap(gradients_of(f), axes))(xs, *weights) for f in (loss, expected_loss)
    )
    assert_equal_trees(actual, expected)


def test_calls_from_many_threads_do_not_deadlock():
    """All of XLA's threads may be inside handlers that wait for threads."""
    x = jnp.asarray(images((2, 48, 48, 32)))
    boxes = jnp.tile(jnp.asarray([-9.5, -9.5, 9.5, 9.5], "float32"), (32, 1, 1))
    kernel, bias = jnp.asarray(images((32, 16))), jnp.zeros(16, "float32")
    loss, _ = losses(OPTIONS[0])
    function = jax.jit(jax.grad(loss, ALL))
    expected = function(x, boxes, kernel, bias)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        run = lambda _: jax.block_until_ready(function(x, boxes, kernel, bias))  # noqa: E731
        for found in pool.map(run, range(64)):
            assert_equal_trees(found, expected, tolerance=0)


FORWARD = {"x": X, "boxes": BOXES, "kernel": KERNEL, "bias": BIAS, "out": np.zeros((4, 7, 9, 5))}
BACKWARD = {name: FORWARD[name] for name in ("x", "boxes", "kernel")} | {
    "output_grad": FORWARD["out"],
    "input_grad": X,
    "boxes_grad": BOXES,
    "kernel_grad": KERNEL,
    "bias_grad": BIAS,
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": X[0]}, r"`input` must have rank 4 or more.*\[7, 9, 6\]"),
        ({"boxes": BOXES[:5]}, r"`boxes` must have one row per channel.*\[5, 2, 4\]"),
        ({"kernel": KERNEL[0, 0]}, r"`kernel` must have shape \[..., C \* M, filters\], got \[\]"),
        ({"kernel": KERNEL[:11]}, r"`kernel` must have shape \[12, 5\], got \[11, 5\]"),
        ({"kernel": KERNEL[None]}, r"`kernel` must have shape \[12, 5\], got \[1, 12, 5\]"),
        ({"kernel": KERNEL.astype("float32")}, "`kernel` must be float64, got float32"),
        ({"bias": BIAS[:4]}, r"`bias` must have shape \[5\], got \[4\]"),
        ({"bias": BIAS.astype("float32")}, "`bias` must be float64, got float32"),
        ({"out": np.zeros((4, 7, 9, 12))}, r"`output` must have shape \[4, 7, 9, 5\], got"),
        ({"output_grad": FORWARD["out"][:3]}, r"`output_grad` must have shape \[4, 7, 9, 5\], got"),
        ({"input_grad": X[:3]}, r"`input_grad` must have shape \[4, 7, 9, 6\], got"),
        ({"boxes_grad": BOXES[:5]}, r"`boxes_grad` must have shape \[6, 2, 4\], got"),
        ({"kernel_grad": KERNEL.T}, r"`kernel_grad` must have shape \[12, 5\], got \[5, 12\]"),
        ({"bias_grad": BIAS[:4]}, r"`bias_grad` must have shape \[5\], got \[4\]"),
    ],
)
def test_handlers_refuse_bad_arguments(change, message):
    """Called directly, without the package's own checks."""
    forward = set(change) <= set(FORWARD)
    arrays = list(((FORWARD if forward else BACKWARD) | change).values())
    arguments, results = arrays[:4], arrays[4:]
    types = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in results]
    name = f"tf_boxconv_separable_{'forward' if forward else 'backward'}"
    call = jax.ffi.ffi_call(name, types[0] if forward else types)
    attributes = {"strides": np.array([1, 1]), "normalization": "area", "data_format": "NHWC"}
    with pytest.raises(jax.errors.JaxRuntimeError, match=message):
        jax.block_until_ready(call(*arguments, **attributes))


# Two devices.


def sharded_arguments(options, *spec):
    x, *weights = arguments_of(options)
    return sharded(x, *spec), *map(sharded, weights)


@each_option_set
def test_data_parallel(options):
    """Images stay on their devices. The gradients of weights are summed over devices once."""
    loss, expected_loss = losses(options)
    arguments = sharded_arguments(options, "data")
    gradients = jax.jit(jax.grad(loss, ALL))(*arguments)
    assert_equal_trees(gradients, jax.grad(expected_loss, ALL)(*arguments_of(options)))
    assert gradients[0].sharding.spec[0] == "data"
    assert all(gradient.sharding.is_fully_replicated for gradient in gradients[1:])
    assert set(collectives(jax.grad(loss, ALL), *arguments)) == {"all-reduce"}


@pytest.mark.parametrize(("channels", "per_channel"), [(6, 1), (1, 2), (1, 1)])
def test_data_parallel_with_one_box_or_channel(channels, per_channel):
    loss, expected_loss = losses(OPTIONS[0])
    rows = channels * per_channel
    x, *weights = X[..., :channels], BOXES[:channels, :per_channel], KERNEL[:rows], BIAS
    arguments = sharded(x, "data"), *map(sharded, weights)
    actual = jax.jit(gradients_of(loss))(*arguments)
    assert_equal_trees(actual, gradients_of(expected_loss)(x, *weights))
    assert set(collectives(gradients_of(loss), *arguments)) == {"all-reduce"}


@pytest.mark.parametrize("spec", [(None, None, None, "data"), (None, "data")], ids=str)
def test_sharded_channels_and_rows_are_gathered(spec):
    """This is slow but correct."""
    options = OPTIONS[0]
    loss, expected_loss = losses(options)
    x, *weights = arguments_of(options)
    x = np.concatenate([x, x], 1)[:, :8]
    actual = jax.jit(gradients_of(loss))(sharded(x, *spec), *map(sharded, weights))
    assert_equal_trees(actual, gradients_of(expected_loss)(x, *weights))


def test_a_sharded_kernel_is_gathered():
    loss, expected_loss = losses(OPTIONS[0])
    x, boxes, kernel, bias = arguments_of(OPTIONS[0])
    for spec in (("data",), (None, "data")):
        kernel, bias = kernel[:, :4], bias[:4]
        arguments = sharded(x), sharded(boxes), sharded(kernel, *spec), sharded(bias, spec[-1])
        actual = jax.jit(gradients_of(loss))(*arguments)
        assert_equal_trees(actual, gradients_of(expected_loss)(x, boxes, kernel, bias))


def test_shard_map():
    """Gradients to weights, which all devices share, are summed over the devices."""

    def by_device(function):
        specs = P("data"), P(), P(), P()
        return jax.jit(
            jax.shard_map(jax.grad(function, ALL), mesh=MESH, in_specs=specs, out_specs=specs)
        )

    arguments = arguments_of(OPTIONS[0])
    loss, expected_loss = losses(OPTIONS[0])
    for wrap in (lambda f: f, penalty_of):
        actual, expected = (by_device(wrap(f))(*arguments) for f in (loss, expected_loss))
        assert_equal_trees(actual, expected)
    assert_equal_trees(by_device(loss)(*arguments), jax.grad(expected_loss, ALL)(*arguments))


@pytest.mark.parametrize("spec", [P("data"), P(None, None, None, "data"), P()])
def test_meshes_with_explicit_axes(spec):
    options = OPTIONS[0]
    loss, expected_loss = losses(options)
    x, *weights = arguments_of(options)
    expected = [
        jax.grad(function, ALL)(x, *weights)
        for function in (expected_loss, penalty_of(expected_loss))
    ]
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    with jax.set_mesh(mesh):
        arguments = [
            jax.device_put(x, NamedSharding(mesh, spec)),
            *(jax.device_put(array, NamedSharding(mesh, P())) for array in weights),
        ]
        out = jax.jit(lambda *a: separable_box_conv2d(*a, *options))(*arguments)
        images_axis = spec[0] if spec else None
        assert jax.typeof(out).sharding.spec == P(images_axis, None, None, None)
        for function, gradients in zip((loss, penalty_of(loss)), expected, strict=True):
            assert_equal_trees(jax.jit(jax.grad(function, ALL))(*arguments), gradients)


def test_batches_that_the_devices_do_not_divide():
    loss, expected_loss = losses(OPTIONS[0])
    x, *weights = arguments_of(OPTIONS[0])

    @jax.jit
    def constrained(x, *weights):
        x = jax.lax.with_sharding_constraint(x, NamedSharding(MESH, P("data")))
        return gradients_of(loss)(x, *weights)

    actual = constrained(*map(sharded, (x[:3], *weights)))
    assert_equal_trees(actual, gradients_of(expected_loss)(x[:3], *weights))


def test_vmap_over_a_sharded_axis():
    loss, expected_loss = losses(OPTIONS[0])
    x, *weights = arguments_of(OPTIONS[0])
    xs = np.stack([x, x + 1])
    arguments = sharded(xs, "data"), *map(sharded, weights)
    actual, expected = (
        jax.jit(jax.vmap(jax.grad(f, ALL), (0, *[None] * 3)))(*a)
        for f, a in ((loss, arguments), (expected_loss, (xs, *weights)))
    )
    assert_equal_trees(actual, expected)
    assert not collectives(jax.vmap(jax.grad(loss, ALL), (0, *[None] * 3)), *arguments)


def test_boxes_as_wide_as_the_plane_keep_their_gradients():
    """Edges beyond the border: the gradient through the area remains."""
    boxes = 4 * boxes_around_pixel(6, 2, reach=4, seed=2)
    arguments = X, boxes, KERNEL, BIAS
    actual, expected = (jax.jit(jax.grad(f, ALL))(*arguments) for f in losses(OPTIONS[0]))
    assert np.abs(expected[1]).max() > 1e-3
    assert_equal_trees(actual, expected)
