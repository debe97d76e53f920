"""Bad input to the operators gives a clear error or the defined result, never a crash."""

import keras
import numpy as np
import pytest

import tf_boxconv
from tests import reference, tolerances
from tests.backend import BACKEND, tensor, to_float64, value_and_gradients
from tests.images import DATA_FORMATS, image_shape, images

X = images((2, 6, 5, 3))
BOXES = np.tile(np.float32([-1.5, -1.5, 1.5, 1.5]), (3, 2, 1))


def boxes_with(*box):
    boxes = BOXES.copy()
    boxes[1, 0] = box
    return boxes


def output_and_gradients(x, boxes, **options):
    out, found = value_and_gradients(
        lambda x, boxes: tf_boxconv.box_conv2d(x, boxes, **options), [tensor(x), tensor(boxes)]
    )
    return [to_float64(a) for a in (out, *found)]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"x": X[0]}, ValueError, r"`x` must have rank 4.*\(6, 5, 3\)"),
        ({"x": X[..., :2]}, ValueError, r"`boxes` must have one row per channel.*\(3, 2, 4\)"),
        ({"x": X.astype(np.int32)}, TypeError, r"`x` must be float16.*int32"),
        ({"x": X.astype(np.complex64)}, TypeError, r"`x` must be float16.*complex64"),
        ({"boxes": BOXES[0]}, ValueError, r"`boxes` must have shape \[C, M, 4\].*\(2, 4\)"),
        ({"boxes": BOXES[..., :3]}, ValueError, r"`boxes` must have shape \[C, M, 4\]"),
        (
            {"boxes": tensor(BOXES, "float64")},
            TypeError,
            r"`boxes` must be float32 when `x` is float32.*float64",
        ),
        ({"strides": 0}, ValueError, r"`strides` must be.*0"),
        ({"strides": (1, 2, 3)}, ValueError, r"`strides` must be.*\(1, 2, 3\)"),
        ({"strides": "two"}, ValueError, r"`strides` must be.*'two'"),
        ({"strides": 1.5}, ValueError, r"`strides` must be.*1.5"),
        ({"normalization": "mean"}, ValueError, r"`normalization` must be.*'mean'"),
        ({"normalization": BOXES}, ValueError, r"`normalization` must be"),
        ({"implementation": BOXES}, ValueError, r"`implementation` must be"),
        ({"data_format": "NHWC"}, ValueError, r"`data_format` must be.*'NHWC'"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        tf_boxconv.box_conv2d(**{"x": X, "boxes": BOXES, **arguments})


def test_weights_that_mixed_precision_has_rounded_are_refused():
    class Layer(keras.layers.Layer):
        def build(self, input_shape):
            self.weight = self.add_weight(shape=BOXES.shape, name="boxes")

        def call(self, x):
            return tf_boxconv.box_conv2d(x, self.weight)

    with pytest.raises(TypeError, match="create the weight with `autocast=False`"):
        Layer(dtype="mixed_bfloat16")(tensor(X))


def test_bad_arguments_of_the_integral_image_are_refused():
    with pytest.raises(ValueError, match="`x` must have rank 4"):
        tf_boxconv.integral_image(X[0])
    with pytest.raises(TypeError, match=r"`dtype` must be float32 or float64.*float16"):
        tf_boxconv.integral_image(X, dtype="float16")
    with pytest.raises(TypeError, match=r"`dtype` must be float32 or float64.*foo"):
        tf_boxconv.integral_image(X, dtype="foo")
    with pytest.raises(ValueError, match="`data_format` must be"):
        tf_boxconv.integral_image(X, data_format="last")


def test_float64_images_accept_float32_boxes():
    out = to_float64(tf_boxconv.box_conv2d(tensor(X, "float64"), tensor(BOXES)))
    np.testing.assert_allclose(out, reference.box_conv2d(X, BOXES), **tolerances.VALUES["float64"])


NAN, INF = np.nan, np.inf


@pytest.mark.parametrize("normalization", ["area", "valid", None])
@pytest.mark.parametrize(
    "box",
    [
        (NAN, -1.5, 1.5, 1.5),
        (-1.5, NAN, 1.5, 1.5),
        (-1.5, -1.5, NAN, 1.5),
        (-1.5, -1.5, 1.5, NAN),
        (NAN, NAN, NAN, NAN),
        (INF, INF, INF, INF),
        (-INF, -INF, -INF, -INF),
        (INF, -1.5, -INF, 1.5),
        (2.0, -1.5, 2.0, 1.5),
        (3.0, 3.0, -3.0, -3.0),
    ],
)
def test_nan_empty_and_inverted_boxes_give_zero(box, normalization):
    out, input_grad, boxes_grad = output_and_gradients(
        X, boxes_with(*box), normalization=normalization
    )
    assert np.all(out[..., 2] == 0) and np.all(boxes_grad[1, 0] == 0)
    others = np.delete(out, 2, axis=-1)
    expected = to_float64(tf_boxconv.box_conv2d(X, BOXES, normalization=normalization))
    np.testing.assert_array_equal(others, np.delete(expected, 2, axis=-1))
    assert np.all(np.isfinite(input_grad)) and np.all(np.isfinite(boxes_grad))


@pytest.mark.parametrize(
    "box",
    [
        (-INF, -INF, INF, INF),
        (-1e30, -1e30, 1e30, 1e30),
        (-3e38, -3e38, 3e38, 3e38),
        (-1e30, -1.5, 1e30, 1.5),
        (-1.5, -INF, 1.5, INF),
    ],
)
def test_infinite_and_huge_boxes_cover_the_plane(box):
    sums, input_grad, boxes_grad = output_and_gradients(X, boxes_with(*box), normalization=None)
    inside = np.clip(box, -100, 100).astype(np.float32)
    expected = reference.box_conv2d(X, boxes_with(*inside), normalization=None)
    np.testing.assert_allclose(sums, expected, **tolerances.VALUES["float32"])
    assert np.all(np.isfinite(input_grad)) and np.all(np.isfinite(boxes_grad))
    means, *_ = output_and_gradients(X, boxes_with(*box), normalization="valid")
    expected = reference.box_conv2d(X, boxes_with(*inside), normalization="valid")
    np.testing.assert_allclose(means, expected, **tolerances.VALUES["float32"])
    areas, input_grad, boxes_grad = output_and_gradients(X, boxes_with(*box))
    np.testing.assert_allclose(areas[..., 2], 0, atol=1e-20)
    assert np.all(np.isfinite(input_grad)) and np.all(np.isfinite(boxes_grad))


@pytest.mark.parametrize("box", [(1e30, 1e30, 2e30, 2e30), (-INF, -INF, -1e30, -1e30)])
@pytest.mark.parametrize("normalization", ["area", "valid", None])
def test_boxes_far_outside_the_plane_give_zero(box, normalization):
    out, _, boxes_grad = output_and_gradients(X, boxes_with(*box), normalization=normalization)
    assert np.all(out[..., 2] == 0) and np.all(boxes_grad[1, 0] == 0)


@pytest.mark.parametrize(
    "box", [(-1e308, -1e308, 1e308, 1e308), (0, 0, 5e-324, 5e-324), (0, 0, 1e-200, 1)]
)
def test_the_largest_and_smallest_float64_boxes_give_finite_results(box):
    boxes = BOXES.astype(np.float64)
    boxes[1, 0] = box
    for found in output_and_gradients(X.astype(np.float64), boxes):
        assert np.all(np.isfinite(found))


@pytest.mark.parametrize("data_format", DATA_FORMATS)
@pytest.mark.parametrize(
    ("batch", "height", "width", "channels", "per_channel"),
    [
        (0, 6, 5, 3, 2),
        (2, 0, 5, 3, 2),
        (2, 6, 0, 3, 2),
        (2, 0, 0, 3, 2),
        (2, 6, 5, 0, 2),
        (2, 6, 5, 3, 0),
    ],
)
def test_sizes_of_zero(batch, height, width, channels, per_channel, data_format):
    shape = image_shape(data_format, height, width, channels, batch)
    boxes = np.ones((channels, per_channel, 4), np.float32)
    out, input_grad, boxes_grad = output_and_gradients(
        np.ones(shape, np.float32), boxes, strides=2, data_format=data_format
    )
    size = -(-height // 2), -(-width // 2)
    assert out.shape == image_shape(data_format, *size, channels * per_channel, batch)
    assert np.all(input_grad == 0) and input_grad.shape == shape
    assert np.all(boxes_grad == 0) and boxes_grad.shape == boxes.shape


def test_integral_image_of_zero_sizes():
    for shape in ((0, 6, 5, 3), (2, 0, 5, 3), (2, 6, 0, 3), (2, 6, 5, 0)):
        table = tf_boxconv.integral_image(np.ones(shape, np.float32))
        assert tuple(table.shape) == (shape[0], shape[1] + 1, shape[2] + 1, shape[3])
        table = to_float64(table)
        assert np.all(table[:, 0] == 0) and np.all(table[:, :, 0] == 0)


@pytest.mark.parametrize("dtype", ["float16", "int32", "float64"])
def test_the_error_about_the_dtype_of_boxes_says_to_convert_them(dtype):
    if BACKEND == "jax" and dtype == "float64":
        pytest.skip("JAX has no float64 here")
    boxes = keras.ops.zeros((1, 1, 4), dtype)
    with pytest.raises(TypeError, match=f"`boxes` must be float32.*dtype={dtype}; convert them"):
        tf_boxconv.box_conv2d(np.zeros((1, 2, 2, 1), np.float32), boxes)
