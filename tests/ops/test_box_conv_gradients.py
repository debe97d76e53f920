"""Second-order gradients, against automatic differentiation of the portable form."""

import keras
import numpy as np
import pytest
from keras import ops

import tf_boxconv
from tests.backend import BACKEND, box_conv2d_portable, tensor, to_float64, value_and_gradients
from tests.ops.problems import random_problem
from tests.ops.test_box_conv import central_differences


def second_order(operator, problem, through):
    """Gradients of a function of first gradients, to the input, boxes and upstream gradient."""

    def loss(x, boxes, g):
        _, (input_grad, boxes_grad) = value_and_gradients(
            lambda x, boxes: operator(x, boxes, **problem.options), [x, boxes], g
        )
        total = 0.0
        if "input" in through:
            total = total + ops.sum(input_grad**2 + ops.sin(input_grad))
        if "boxes" in through:
            total = total + ops.sum(ops.tanh(boxes_grad / 10))
        return total

    arguments = [problem.x, tensor(problem.boxes), problem.output_grad]
    return value_and_gradients(loss, arguments)[1]


@pytest.mark.parametrize("through", [("input",), ("boxes",), ("input", "boxes")])
def test_second_order_of_random_problems(through):
    for seed in range(2000, 2004 if BACKEND == "jax" else 2012):
        problem = random_problem(seed, "float64")
        actual = second_order(tf_boxconv.box_conv2d, problem, through)
        expected = second_order(box_conv2d_portable, problem, through)
        for a, e in zip(map(to_float64, actual), map(to_float64, expected), strict=True):
            scale = 1 + np.max(np.abs(e), initial=0)
            np.testing.assert_allclose(a, e, atol=1e-9 * scale, err_msg=f"seed {seed}")


def test_numeric_hessian_of_the_input():
    rng = np.random.default_rng(0)
    boxes = tensor([[[-1.3, -0.2, 2.1, 1.4], [0.7, -2.2, 1.9, 0.1]]], "float64")

    def penalty(x):
        def score(x):
            return ops.sum(tf_boxconv.box_conv2d(x, boxes) ** 3)

        _, (gradient,) = value_and_gradients(score, [x])
        return ops.sum(gradient**2)

    x = rng.normal(size=(1, 4, 5, 1))
    _, (analytic,) = value_and_gradients(penalty, [tensor(x)])
    (finite,) = central_differences(penalty, [x])
    np.testing.assert_allclose(to_float64(analytic), finite, rtol=1e-6, atol=1e-6)


def test_gradient_penalty_trains():
    """A critic with boxes, trained as in WGAN-GP, brings its input gradients' norm to one."""
    rng = np.random.default_rng(0)
    x = tensor(rng.normal(size=(8, 12, 12, 3)), "float32")
    signs = np.float32([-1, -1, 1, 1])
    boxes = keras.Variable(rng.uniform(0.6, 4.0, (3, 4, 4)).astype("float32") * signs)
    mix = keras.Variable(rng.normal(size=12).astype("float32") * 0.01)
    optimizer = keras.optimizers.Adam(0.02)
    optimizer.build([boxes, mix])

    def penalty(boxes, mix):
        def score(x):
            features = ops.tanh(tf_boxconv.box_conv2d(x, boxes))
            return ops.sum(features * mix, axis=[1, 2, 3])

        _, (gradient,) = value_and_gradients(score, [x])
        norm = ops.sqrt(ops.sum(gradient**2, axis=[1, 2, 3]))
        return ops.mean((norm - 1) ** 2)

    def step():
        loss, gradients = value_and_gradients(
            penalty, [ops.convert_to_tensor(v.value) for v in (boxes, mix)]
        )
        optimizer.apply(gradients, [boxes, mix])
        return float(to_float64(loss)), np.max(np.abs(to_float64(gradients[0])))

    first, boxes_moved_by = step()
    for _ in range(80):
        last, _ = step()
    assert first > 0.4 and last < 0.01
    assert boxes_moved_by > 0
