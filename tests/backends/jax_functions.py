"""Functions to differentiate, map and shard on JAX, with their arguments `X` and `BOXES`."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from tests.backends.jax_reference import box_conv2d_reference
from tests.boxes import boxes_around_pixel
from tests.images import images
from tf_boxconv import box_conv2d

X = images((4, 7, 9, 6), dtype=np.float64)
BOXES = boxes_around_pixel(6, 2, reach=4, seed=1)
OPTIONS = {"strides": (2, 1), "normalization": "valid"}


def loss_of(operator):
    """Returns a scalar function of images and boxes."""
    return lambda x, boxes: jnp.sum(jnp.sin(operator(x, boxes, **OPTIONS)))


loss, expected_loss = loss_of(box_conv2d), loss_of(box_conv2d_reference)


def penalty_of(loss):
    """Returns a function of the gradients of `loss`, to test second derivatives."""

    def penalty(x, boxes):
        to_x, to_boxes = jax.grad(loss, (0, 1))(x, boxes)
        return jnp.sum(to_x**2) + jnp.sum(jnp.tanh(to_boxes))

    return penalty


def value_and_gradients_of(function):
    return jax.value_and_grad(function, (0, 1))


# How a compiled program names a call to a handler.
HANDLER_CALL = 'custom_call_target="tf_boxconv_'


def compiled_text(function, *arguments):
    """Returns the compiled program as text."""
    return jax.jit(function).lower(*arguments).compile().as_text()


def assert_equal_trees(actual, expected, tolerance=1e-10):
    """Compares all arrays, with `tolerance` relative to the largest element, or to 1 if larger."""
    actual, expected = jax.tree.leaves(actual), jax.tree.leaves(expected)
    for a, e in zip(actual, expected, strict=True):
        assert a.shape == e.shape and a.dtype == e.dtype
        scale = np.max(np.abs(e), initial=1)
        np.testing.assert_allclose(a, e, rtol=0, atol=tolerance * scale)


# Two devices.

MESH = Mesh(np.array(jax.devices()), ("data",))
COLLECTIVES = ("all-gather", "all-reduce", "all-to-all", "collective-permute", "reduce-scatter")


def sharded(array, *spec):
    """Returns the array on both devices, with axes split as `PartitionSpec(*spec)` says."""
    return jax.device_put(array, NamedSharding(MESH, PartitionSpec(*spec)))


def collectives(function, *arguments):
    """Returns how often the compiled function communicates between devices, by operation."""
    text = compiled_text(function, *arguments)
    assert HANDLER_CALL in text
    return {name: n for name in COLLECTIVES if (n := len(re.findall(rf" {name}(-start)?\(", text)))}
