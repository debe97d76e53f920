"""Second-order gradients, against automatic differentiation of the portable path."""

import keras
import numpy as np
import pytest
from keras import ops

import tf_boxconv
from tests import tolerances
from tests.backend import (
    BACKEND,
    box_conv2d_portable,
    central_differences,
    tensor,
    to_float64,
    value_and_gradients,
)
from tests.boxes import boxes_around_pixel
from tests.images import images
from tests.ops.problems import random_problem, second_order_gradients


@pytest.mark.parametrize("seed", range(2000, 2012 if BACKEND == "tensorflow" else 2004))
@pytest.mark.parametrize("through", [("input",), ("boxes",), ("input", "boxes")], ids="+".join)
def test_second_order_on_random_problems(through, seed):
    problem = random_problem(seed, "float64")
    actual = second_order_gradients(tf_boxconv.box_conv2d, problem, through)
    expected = second_order_gradients(box_conv2d_portable, problem, through)
    for a, e in zip(map(to_float64, actual), map(to_float64, expected), strict=True):
        scale = 1 + np.max(np.abs(e), initial=0)
        np.testing.assert_allclose(a / scale, e / scale, **tolerances.DERIVATIVES["float64"])


def test_second_order_to_the_input_equals_central_differences():
    boxes = tensor([[[-1.3, -0.2, 2.1, 1.4], [0.7, -2.2, 1.9, 0.1]]], "float64")

    def penalty(x):
        def score(x):
            return ops.sum(tf_boxconv.box_conv2d(x, boxes) ** 3)

        _, (gradient,) = value_and_gradients(score, [x])
        return ops.sum(gradient**2)

    x = images((1, 4, 5, 1), dtype=np.float64)
    _, (analytic,) = value_and_gradients(penalty, [tensor(x)])
    (finite,) = central_differences(penalty, [x])
    np.testing.assert_allclose(to_float64(analytic), finite, **tolerances.CENTRAL_DIFFERENCES)


def test_training_minimizes_a_gradient_penalty():
    """Trains a critic with boxes as WGAN-GP does: the norm of its input gradients goes to one."""
    x = tensor(images((8, 12, 12, 3)))
    boxes = keras.Variable(boxes_around_pixel(3, 4, reach=4).astype("float32"))
    mix = keras.Variable(images((12,), seed=1) * 0.01)
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
