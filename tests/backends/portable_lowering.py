"""Checks the lowering to XLA's own operations, which only an environment variable can force.

`test_tensorflow_xla.py` starts `python -m tests.backends.portable_lowering` with
`TF_BOXCONV_XLA=portable`. This module runs all checks and prints a JSON object with the error of
each check by its name.
"""

import functools
import json
import traceback

import numpy as np
import tensorflow as tf

import tf_boxconv
from tests import reference, tolerances
from tests.backends.xla import compiled, hlo_of
from tests.images import DATA_FORMATS, images
from tests.ops import separable_problems
from tests.ops.problems import DTYPES, check_against_reference, random_problem

NAN = float("nan")


def check_that_no_handler_is_called():
    boxes, kernel = tf.constant([[[-1.5, -0.5, 1.0, 2.0]]] * 3), tf.ones([3, 4])
    for function in (
        lambda x: tf_boxconv.box_conv2d(x, boxes),
        lambda x: tf_boxconv.separable_box_conv2d(x, boxes, kernel),
    ):
        text = hlo_of(function, tf.zeros([1, 5, 6, 3]))
        assert "custom-call" not in text and "dot(" in text, text


def check_random_problem(dtype: str, seed: int):
    check_against_reference(compiled(tf_boxconv.box_conv2d), random_problem(seed, dtype))


def check_separable_problem(dtype: str, seed: int):
    separable_problems.check_against_reference(
        compiled(tf_boxconv.separable_box_conv2d),
        separable_problems.random_separable_problem(seed, dtype),
    )


def check_edges_on_borders_and_empty_boxes(normalization: str | None):
    """An edge on a border has the derivative of the growing box; empty and NaN boxes give zeros."""
    x = images((1, 6, 5, 4), dtype=np.float64)
    boxes = np.array([[[-1.5, -0.5, 0.5, 2.5]], [[1, 1, 1, 2]], [[2, 0, -1, 1]], [[NAN, 0, 1, 1]]])

    def results(x, boxes):
        with tf.GradientTape() as tape:
            tape.watch([x, boxes])
            out = tf_boxconv.box_conv2d(x, boxes, normalization=normalization)
        return out, *tape.gradient(out, [x, boxes], output_gradients=out)

    out, to_x, to_boxes = compiled(results)(tf.constant(x), tf.constant(boxes))
    expected = reference.box_conv2d(x, boxes, normalization=normalization)
    gradients = reference.box_conv2d_gradients(x, boxes, expected, normalization=normalization)
    for a, e in zip((out, to_x, to_boxes), (expected, *gradients), strict=True):
        np.testing.assert_allclose(a, e, **tolerances.VALUES["float64"])
    assert not np.any(out[..., 1:]) and not np.any(to_boxes[1:])


def check_integral_image(data_format: str, shape: tuple[int, ...]):
    x = images(shape, dtype=np.float64)
    table = compiled(tf_boxconv.integral_image)(tf.constant(x), data_format)
    expected = reference.integral_image(x, data_format)
    np.testing.assert_allclose(table, expected, **tolerances.VALUES["float64"])


def _checks() -> dict:
    checks = {"no handler": check_that_no_handler_is_called}
    for dtype in DTYPES:
        for seed in range(4000, 4004):
            name = f"random problem, {dtype}, seed {seed}"
            checks[name] = functools.partial(check_random_problem, dtype, seed)
        for seed in range(4000, 4003):
            name = f"random separable problem, {dtype}, seed {seed}"
            checks[name] = functools.partial(check_separable_problem, dtype, seed)
    for normalization in ("area", "valid", None):
        name = f"edges on borders and empty boxes, {normalization}"
        checks[name] = functools.partial(check_edges_on_borders_and_empty_boxes, normalization)
    for data_format in DATA_FORMATS:
        for shape in ((2, 5, 7, 3), (2, 0, 3, 1), (0, 2, 3, 1)):
            name = f"integral image, {data_format}, {shape}"
            checks[name] = functools.partial(check_integral_image, data_format, shape)
    return checks


CHECKS = _checks()


def error_of(check) -> str | None:
    """Returns the traceback of a check that fails; None if it passes."""
    try:
        check()
    except Exception:
        return traceback.format_exc()
    return None


if __name__ == "__main__":
    print(json.dumps({name: error_of(check) for name, check in CHECKS.items()}))
