"""`integral_image` against NumPy's cumulative sums."""

import numpy as np
import pytest
import tensorflow as tf

import tf_boxconv
from tests import reference


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("table_dtype", [None, "float32", "float64"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_values_and_gradients(dtype, table_dtype, data_format):
    rng = np.random.default_rng(7)
    for shape in ((2, 5, 7, 3), (1, 1, 1, 1), (1, 33, 2, 70), (3, 1, 19, 32)):
        x = tf.cast(tf.constant(rng.normal(size=shape)), dtype)
        with tf.GradientTape() as tape:
            tape.watch(x)
            table = tf_boxconv.integral_image(x, data_format=data_format, dtype=table_dtype)
        default = "float64" if dtype == "float64" else "float32"
        assert table.dtype.name == (table_dtype or default)
        x64 = tf.cast(x, tf.float64).numpy()
        expected = reference.integral_image(x64, data_format)
        tolerance = 1e-12 if table.dtype == tf.float64 else 1e-5
        np.testing.assert_allclose(table, expected, atol=tolerance * 50)

        weights = tf.cast(tf.constant(rng.normal(size=table.shape)), table.dtype)
        gradient = tape.gradient(table, x, output_gradients=weights)
        last = data_format == "channels_last"
        planes = np.moveaxis(weights.numpy(), -1, 1) if last else weights.numpy()
        planes = planes[:, :, 1:, 1:].astype(np.float64)
        sums = planes[:, :, ::-1, ::-1].cumsum(2).cumsum(3)[:, :, ::-1, ::-1]
        expected = np.moveaxis(sums, 1, -1) if last else sums
        rounding = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-5, "float64": 1e-5}[dtype]
        np.testing.assert_allclose(
            tf.cast(gradient, tf.float64), expected, rtol=rounding, atol=rounding * 5
        )


def test_second_gradient():
    x = tf.constant(np.random.default_rng(0).normal(size=(1, 3, 4, 2)))

    def penalty(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf_boxconv.integral_image(x) ** 3)
        return tf.reduce_sum(tape.gradient(loss, x) ** 2)

    theoretical, numerical = tf.test.compute_gradient(penalty, [x], delta=1e-6)
    np.testing.assert_allclose(theoretical[0], numerical[0], rtol=1e-5)


def test_table_gives_any_rectangle():
    x = np.random.default_rng(1).normal(size=(1, 9, 8, 1)).astype(np.float32)
    table = tf_boxconv.integral_image(x, dtype="float64").numpy()[0, :, :, 0]
    rectangle = table[7, 6] - table[7, 1] - table[2, 6] + table[2, 1]
    np.testing.assert_allclose(rectangle, x[0, 2:7, 1:6, 0].astype(np.float64).sum(), rtol=1e-12)


def test_static_shape():
    @tf.function(input_signature=[tf.TensorSpec([None, 4, None, 2], tf.float32)])
    def function(x):
        return tf_boxconv.integral_image(x)

    assert tuple(function.get_concrete_function().output_shapes) == (None, 5, None, 2)
