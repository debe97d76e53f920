"""`integral_image` against NumPy's cumulative sums."""

import numpy as np
import pytest
from keras import ops

import tf_boxconv
from tests import reference
from tests.backend import dtype_name, tensor, to_float64, value_and_gradients
from tests.ops.test_box_conv import central_differences


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("table_dtype", [None, "float32", "float64"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_values_and_gradients(dtype, table_dtype, data_format):
    rng = np.random.default_rng(7)
    last = data_format == "channels_last"
    for shape in ((2, 5, 7, 3), (1, 1, 1, 1), (1, 33, 2, 70), (3, 1, 19, 32)):
        x = tensor(rng.normal(size=shape), dtype)
        default = "float64" if dtype == "float64" else "float32"
        shape = [n + (i in ((1, 2) if last else (2, 3))) for i, n in enumerate(shape)]
        weights = tensor(rng.normal(size=shape), table_dtype or default)
        table, (gradient,) = value_and_gradients(
            lambda x: tf_boxconv.integral_image(x, data_format=data_format, dtype=table_dtype),
            [x],
            weights,
        )
        assert dtype_name(table) == (table_dtype or default)
        expected = reference.integral_image(to_float64(x), data_format)
        tolerance = 1e-12 if dtype_name(table) == "float64" else 1e-5
        np.testing.assert_allclose(to_float64(table), expected, atol=tolerance * 50)

        weights = to_float64(weights)
        planes = np.moveaxis(weights, -1, 1) if last else weights
        planes = planes[:, :, 1:, 1:]
        sums = planes[:, :, ::-1, ::-1].cumsum(2).cumsum(3)[:, :, ::-1, ::-1]
        expected = np.moveaxis(sums, 1, -1) if last else sums
        rounding = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-5, "float64": 1e-5}[dtype]
        np.testing.assert_allclose(to_float64(gradient), expected, rtol=rounding, atol=rounding * 5)


def test_second_gradient():
    def penalty(x):
        def loss(x):
            return ops.sum(tf_boxconv.integral_image(x) ** 3)

        _, (gradient,) = value_and_gradients(loss, [x])
        return ops.sum(gradient**2)

    x = np.random.default_rng(0).normal(size=(1, 3, 4, 2))
    _, (analytic,) = value_and_gradients(penalty, [tensor(x)])
    (finite,) = central_differences(penalty, [x], delta=1e-6)
    np.testing.assert_allclose(to_float64(analytic), finite, rtol=1e-5)


def test_table_gives_any_rectangle():
    x = np.random.default_rng(1).normal(size=(1, 9, 8, 1)).astype(np.float32)
    table = to_float64(tf_boxconv.integral_image(x, dtype="float64"))[0, :, :, 0]
    rectangle = table[7, 6] - table[7, 1] - table[2, 6] + table[2, 1]
    np.testing.assert_allclose(rectangle, x[0, 2:7, 1:6, 0].astype(np.float64).sum(), rtol=1e-12)
