"""The operators on JAX with arrays that are sharded over two devices."""

import numpy as np
import pytest

from tests import reference, tolerances
from tests.backend import BACKEND
from tests.images import DATA_FORMATS
from tf_boxconv import box_conv2d, integral_image

if BACKEND != "jax":
    pytest.skip(f"needs JAX; Keras's backend is {BACKEND}", allow_module_level=True)

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from tests.backends.jax_functions import (
    BOXES,
    MESH,
    X,
    assert_equal_trees,
    collectives,
    compiled_text,
    expected_loss,
    loss,
    penalty_of,
    sharded,
    value_and_gradients_of,
)


def test_there_are_two_devices():
    assert jax.device_count() == 2


@pytest.mark.parametrize("data_format", DATA_FORMATS)
def test_data_parallel(data_format):
    """Images stay on their devices. The gradients of boxes are summed over devices once."""

    def value_and_gradients(x, boxes):
        return value_and_gradients_of(
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
    """Gradients to boxes, which all devices share, are summed over the devices, at each order."""

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
    assert_equal_trees(
        jax.jit(value_and_gradients_of(loss))(*arguments), value_and_gradients_of(loss)(x, boxes)
    )
    assert set(collectives(value_and_gradients_of(loss), *arguments)) == {"all-reduce"}


def test_channels_may_be_sharded():
    expected = value_and_gradients_of(loss)(X, BOXES)
    arguments = sharded(X, None, None, None, "data"), sharded(BOXES, "data")
    assert_equal_trees(jax.jit(value_and_gradients_of(loss))(*arguments), expected)
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


def test_sharded_rows_of_planes_are_gathered():
    """This is slow but correct."""
    x = np.concatenate([X, X], 1)[:, :8]
    arguments = sharded(x, None, "data"), sharded(BOXES)
    assert_equal_trees(
        jax.jit(value_and_gradients_of(loss))(*arguments), value_and_gradients_of(loss)(x, BOXES)
    )


def test_batches_that_the_devices_do_not_divide():
    x, boxes = X[:3, ..., :5], BOXES[:5]

    @jax.jit
    def constrained(x, boxes):
        x = jax.lax.with_sharding_constraint(x, NamedSharding(MESH, P("data")))
        return value_and_gradients_of(loss)(x, boxes)

    assert_equal_trees(
        constrained(sharded(x), sharded(boxes)), value_and_gradients_of(loss)(x, boxes)
    )


def test_vmap_over_a_sharded_axis():
    x = np.stack([X, X + 1])
    arguments = sharded(x, "data"), sharded(BOXES)
    function = jax.vmap(jax.grad(loss, (0, 1)), (0, None))
    assert_equal_trees(jax.jit(function)(*arguments), function(x, BOXES))
    assert not collectives(function, *arguments)


def test_the_integral_image_of_a_sharded_batch():
    table = jax.jit(integral_image)(sharded(X, "data"))
    assert table.sharding.spec[0] == "data"
    np.testing.assert_allclose(table, reference.integral_image(X), **tolerances.VALUES["float64"])
    assert not collectives(integral_image, sharded(X, "data"))
