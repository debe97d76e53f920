"""TensorFlow's derivatives of the native operators equal those of the portable path.

The portable path runs in float64.
"""

import functools

import numpy as np
import pytest

import tf_boxconv
from tests import tolerances
from tests.backend import box_conv2d_portable, tensorflow_only
from tests.boxes import boxes_around_pixel
from tests.images import images
from tf_boxconv.ops.integral_image_portable import integral_image_portable

tf = pytest.importorskip("tensorflow")
pytestmark = tensorflow_only

X, X_TANGENT = tf.unstack(tf.constant(images((2, 2, 4, 5, 2), dtype=np.float64)))
BOXES = tf.constant(boxes_around_pixel(2, 2, reach=2.6))
BOXES_TANGENT = tf.constant(images(BOXES.shape, seed=1, dtype=np.float64))
XS, BOXES_3 = tf.stack([X, X_TANGENT, X * X]), tf.stack([BOXES, 1.2 * BOXES, 0.9 * BOXES])


def box_conv_function(operator):
    return lambda x, boxes: tf.reduce_sum(tf.sin(operator(x, boxes, (2, 1), "valid")), -1)


def separable_function(operator):
    """The kernel depends on the boxes, so that its derivatives count too."""

    def function(x, boxes):
        kernel = tf.reshape(tf.sin(boxes), [4, 4])
        out = operator(x, boxes, kernel, kernel[0], (2, 1), "valid")
        return tf.reduce_sum(tf.sin(out), -1)

    return function


def integral_image_function(operator):
    # `boxes` only gives the function the same arguments as those of `box_conv_function`.
    return lambda x, boxes: tf.sin(operator(x)) * tf.reduce_sum(boxes)


# Functions of the native operator and of the portable path, by name.
PAIRS = {
    "box_conv2d": (
        box_conv_function(tf_boxconv.box_conv2d),
        box_conv_function(box_conv2d_portable),
    ),
    "separable_box_conv2d": (
        separable_function(tf_boxconv.separable_box_conv2d),
        separable_function(
            functools.partial(tf_boxconv.separable_box_conv2d, implementation="portable")
        ),
    ),
    "integral_image": (
        integral_image_function(tf_boxconv.integral_image),
        integral_image_function(lambda x: integral_image_portable(x, "channels_last", "float64")),
    ),
}


def graph(function):
    return tf.function(function, autograph=False)


def scalar(function):
    """Returns a function with a single number as its output."""
    return lambda x, boxes: tf.reduce_sum(function(x, boxes) ** 2)


def forward(function):
    """Returns a function that computes the tangent of `function`."""

    def tangent(x, boxes):
        with tf.autodiff.ForwardAccumulator([x, boxes], [X_TANGENT, BOXES_TANGENT]) as accumulator:
            out = function(x, boxes)
        return accumulator.jvp(out, unconnected_gradients="zero")

    return tangent


def reverse(function):
    """Returns a function that computes the gradients of the sum of squares of `function`."""

    def gradients(x, boxes):
        with tf.GradientTape() as tape:
            tape.watch([x, boxes])
            out = scalar(function)(x, boxes)
        return tape.gradient(out, [x, boxes], unconnected_gradients="zero")

    return gradients


def inner_product(gradients):
    """Returns the inner product of gradients and tangents, to get a Hessian-vector product."""

    def function(x, boxes):
        to_x, to_boxes = gradients(x, boxes)
        return tf.reduce_sum(to_x * X_TANGENT) + tf.reduce_sum(to_boxes * BOXES_TANGENT)

    return function


def jacobian(function):
    def jacobians(x, boxes):
        with tf.GradientTape() as tape:
            tape.watch([x, boxes])
            out = function(x, boxes)
        return tape.jacobian(out, [x, boxes])

    return jacobians


def batch_jacobian(function):
    def jacobians(x, boxes):
        with tf.GradientTape() as tape:
            tape.watch(x)
            out = function(x, boxes)
        return tape.batch_jacobian(out, x)

    return jacobians


def mapped(function):
    return lambda x, boxes: tf.vectorized_map(lambda pair: function(*pair), (XS, BOXES_3))


def flat(function):
    """Returns a function that concatenates the results of `function` into one vector."""
    return lambda x, boxes: tf.concat([tf.reshape(t, [-1]) for t in function(x, boxes)], 0)


# Modes by name, in eager execution.
EAGER_MODES = {
    "forward": forward,
    "forward over reverse": lambda f: forward(reverse(f)),
    "reverse over forward": lambda f: reverse(forward(f)),
    "reverse over reverse": lambda f: reverse(inner_product(reverse(f))),
    "jacobian": jacobian,
    "batch jacobian": batch_jacobian,
    "hessian": lambda f: jacobian(flat(reverse(f))),
    "vectorized_map": mapped,
    "vectorized_map of reverse": lambda f: mapped(reverse(f)),
}
# Modes with graphs in them, and the eager mode that gives the same values. "Reverse over forward of
# graph" is missing: TensorFlow 2.21 fails there with its own operations too.
GRAPH_MODES = {
    "forward of graph": ("forward", lambda f: forward(graph(f))),
    "graph of forward of graph": ("forward", lambda f: graph(forward(graph(f)))),
    "forward over reverse of graph": ("forward over reverse", lambda f: forward(reverse(graph(f)))),
    "forward over graph of reverse": (
        "forward over reverse",
        lambda f: forward(graph(reverse(graph(f)))),
    ),
    "reverse over graph of forward": ("reverse over forward", lambda f: reverse(graph(forward(f)))),
    "reverse over graph of reverse": (
        "reverse over reverse",
        lambda f: reverse(inner_product(graph(reverse(graph(f))))),
    ),
    "graph of jacobian": ("jacobian", lambda f: graph(jacobian(graph(f)))),
    "graph of vectorized_map of reverse": (
        "vectorized_map of reverse",
        lambda f: graph(mapped(reverse(f))),
    ),
}
MODES = {name: (name, mode) for name, mode in EAGER_MODES.items()} | GRAPH_MODES
# TensorFlow traces these graphs for up to 20 seconds.
LONG_MODES = ("forward over reverse of graph", "forward over graph of reverse")


@functools.cache
def portable_results(eager_mode, pair):
    """Returns the expected values. Only eager modes run the portable path, which is slow here."""
    _, portable = PAIRS[pair]
    return tf.nest.flatten(EAGER_MODES[eager_mode](portable)(X, BOXES))


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize(
    "mode",
    [pytest.param(mode, marks=[pytest.mark.long] * (mode in LONG_MODES)) for mode in MODES],
)
def test_native_equals_portable_in_each_mode(mode, pair):
    native, _ = PAIRS[pair]
    eager_mode, transform = MODES[mode]
    actual = tf.nest.flatten(transform(native)(X, BOXES))
    for a, e in zip(actual, portable_results(eager_mode, pair), strict=True):
        np.testing.assert_allclose(a, e, **tolerances.DERIVATIVES["float64"])
