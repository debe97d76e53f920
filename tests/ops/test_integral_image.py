"""`integral_image` against NumPy's cumulative sums."""

import numpy as np
import pytest
from keras import ops

import tf_boxconv
from tests import reference, tolerances
from tests.backend import (
    central_differences,
    dtype_name,
    tensor,
    to_float64,
    value_and_gradients,
)
from tests.images import DATA_FORMATS, image_shape, images
from tests.ops.problems import DTYPES
from tf_boxconv.ops.integral_image_portable import integral_image_portable


def reversed_cumulative_sums(planes):
    """The gradient of a sum over the table, for planes `[N, C, H, W]` of upstream gradients."""
    return planes[:, :, ::-1, ::-1].cumsum(2).cumsum(3)[:, :, ::-1, ::-1]


@pytest.mark.parametrize("data_format", DATA_FORMATS)
@pytest.mark.parametrize("table_dtype", [None, "float32", "float64"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "size", [(2, 5, 7, 3), (1, 1, 1, 1), (1, 33, 2, 70), (3, 1, 19, 32)], ids=str
)
def test_values_and_gradients(dtype, table_dtype, data_format, size):
    batch, height, width, channels = size
    last = data_format == "channels_last"
    x = tensor(
        images(image_shape(data_format, height, width, channels, batch), 7, "float64"), dtype
    )
    table_shape = image_shape(data_format, height + 1, width + 1, channels, batch)
    expected_dtype = table_dtype or ("float64" if dtype == "float64" else "float32")
    weights = tensor(images(table_shape, 8, "float64"), expected_dtype)
    table, (gradient,) = value_and_gradients(
        lambda x: tf_boxconv.integral_image(x, data_format=data_format, dtype=table_dtype),
        [x],
        weights,
    )
    assert dtype_name(table) == expected_dtype
    expected = reference.integral_image(to_float64(x), data_format)
    # The largest table adds up 66 pixels of order 1, and its error grows with their sum.
    atol = 50 * {"float32": 1e-5, "float64": 1e-12}[expected_dtype]
    np.testing.assert_allclose(to_float64(table), expected, atol=atol)

    weights = to_float64(weights)
    planes = np.moveaxis(weights, -1, 1) if last else weights
    expected = reversed_cumulative_sums(planes[:, :, 1:, 1:])
    expected = np.moveaxis(expected, 1, -1) if last else expected
    rounding = max(2 * tolerances.OPERATOR[dtype], 1e-5)
    np.testing.assert_allclose(to_float64(gradient), expected, rtol=rounding, atol=rounding * 5)


def test_second_order_equals_central_differences():
    def penalty(x):
        def loss(x):
            return ops.sum(tf_boxconv.integral_image(x) ** 3)

        _, (gradient,) = value_and_gradients(loss, [x])
        return ops.sum(gradient**2)

    x = images((1, 3, 4, 2), dtype=np.float64)
    _, (analytic,) = value_and_gradients(penalty, [tensor(x)])
    (finite,) = central_differences(penalty, [x], delta=1e-6)
    np.testing.assert_allclose(to_float64(analytic), finite, rtol=1e-5)


def test_four_entries_of_the_table_give_the_sum_of_a_rectangle():
    x = images((1, 9, 8, 1), seed=1)
    table = to_float64(tf_boxconv.integral_image(x, dtype="float64"))[0, :, :, 0]
    rectangle = table[7, 6] - table[7, 1] - table[2, 6] + table[2, 1]
    np.testing.assert_allclose(
        rectangle, x[0, 2:7, 1:6, 0].astype(np.float64).sum(), **tolerances.VALUES["float64"]
    )


@pytest.mark.parametrize("data_format", DATA_FORMATS)
def test_the_portable_path_adds_in_float64(data_format):
    """It runs where the library is missing."""
    x = images(image_shape(data_format, 40, 50, 2)) + 1e6
    found = integral_image_portable(tensor(x), data_format, "float64")
    axes = (1, 2) if data_format == "channels_last" else (2, 3)
    expected = np.float64(x).cumsum(axes[0]).cumsum(axes[1])
    assert dtype_name(found) == "float64"
    inner = to_float64(found)[:, 1:, 1:] if axes == (1, 2) else to_float64(found)[..., 1:, 1:]
    np.testing.assert_allclose(inner, expected, rtol=1e-14)
