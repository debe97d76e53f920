"""Second-order gradients, against automatic differentiation of the stock-op path."""

import numpy as np
import pytest
import tensorflow as tf

import tf_boxconv
from tests.ops.problems import random_problem
from tf_boxconv.ops.box_conv_overlap import box_conv2d_overlap


def second_order(operator, problem, through):
    """Gradients of a function of first gradients, to the input, boxes and upstream gradient."""
    x, boxes, g = problem.x, tf.constant(problem.boxes), problem.output_grad
    with tf.GradientTape() as outer:
        outer.watch([x, boxes, g])
        with tf.GradientTape() as inner:
            inner.watch([x, boxes])
            out = operator(x, boxes, **problem.options)
        input_grad, boxes_grad = inner.gradient(out, [x, boxes], output_gradients=g)
        loss = 0.0
        if "input" in through:
            loss += tf.reduce_sum(input_grad**2 + tf.sin(input_grad))
        if "boxes" in through:
            loss += tf.reduce_sum(tf.tanh(boxes_grad / 10))
    return outer.gradient(loss, [x, boxes, g], unconnected_gradients="zero")


@pytest.mark.parametrize("through", [("input",), ("boxes",), ("input", "boxes")])
def test_second_order_of_random_problems(through):
    for seed in range(2000, 2012):
        problem = random_problem(seed, "float64")
        actual = second_order(tf_boxconv.box_conv2d, problem, through)
        expected = second_order(box_conv2d_overlap, problem, through)
        for a, e in zip(actual, expected, strict=True):
            scale = 1 + np.max(np.abs(e), initial=0)
            np.testing.assert_allclose(a, e, atol=1e-9 * scale, err_msg=f"seed {seed}")


def test_second_order_in_a_graph():
    problem = random_problem(2003, "float64")
    eager = second_order(tf_boxconv.box_conv2d, problem, ("input", "boxes"))
    graph = tf.function(lambda: second_order(tf_boxconv.box_conv2d, problem, ("input", "boxes")))()
    for a, b in zip(eager, graph, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_numeric_hessian_of_the_input():
    rng = np.random.default_rng(0)
    boxes = tf.constant([[[-1.3, -0.2, 2.1, 1.4], [0.7, -2.2, 1.9, 0.1]]], tf.float64)
    x = tf.constant(rng.normal(size=(1, 4, 5, 1)))

    def penalty(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            score = tf.reduce_sum(tf_boxconv.box_conv2d(x, boxes) ** 3)
        return tf.reduce_sum(tape.gradient(score, x) ** 2)

    theoretical, numerical = tf.test.compute_gradient(penalty, [x], delta=1e-5)
    np.testing.assert_allclose(theoretical[0], numerical[0], rtol=1e-6, atol=1e-6)


def test_gradient_penalty_trains():
    """A critic with boxes, trained as in WGAN-GP, brings its input gradients' norm to one."""
    tf.keras.utils.set_random_seed(0)
    x = tf.random.normal([8, 12, 12, 3])
    boxes = tf.Variable(tf.random.uniform([3, 4, 4], 0.6, 4.0) * [-1, -1, 1, 1])
    mix = tf.Variable(tf.random.normal([12]) * 0.01)
    optimizer = tf.keras.optimizers.Adam(0.02)

    @tf.function
    def step():
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                inner.watch(x)
                features = tf.nn.tanh(tf_boxconv.box_conv2d(x, boxes))
                score = tf.reduce_sum(features * mix, axis=[1, 2, 3])
            norm = tf.norm(tf.reshape(inner.gradient(score, x), [8, -1]), axis=1)
            penalty = tf.reduce_mean((norm - 1) ** 2)
        variables = [boxes, mix]
        gradients = outer.gradient(penalty, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return penalty, tf.reduce_max(tf.abs(gradients[0]))

    first, boxes_moved_by = step()
    for _ in range(80):
        last, _ = step()
    assert first > 0.4 and last < 0.01
    assert boxes_moved_by > 0
