"""Bad input to the operators: a clear error or the defined result, never a crash."""

import keras
import numpy as np
import pytest

import tf_boxconv
from tests import reference
from tests.backend import BACKEND, tensor, to_float64, value_and_gradients

X = np.random.default_rng(0).normal(size=(2, 6, 5, 3)).astype(np.float32)
BOXES = np.tile(np.float32([-1.5, -1.5, 1.5, 1.5]), (3, 2, 1))


def boxes_with(*box):
    boxes = BOXES.copy()
    boxes[1, 0] = box
    return boxes


def gradients(x, boxes, **options):
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
        ({"data_format": "NHWC"}, ValueError, r"`data_format` must be.*'NHWC'"),
    ],
)
def test_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        tf_boxconv.box_conv2d(**{"x": X, "boxes": BOXES, **arguments})


def test_integral_image_arguments():
    with pytest.raises(ValueError, match="`x` must have rank 4"):
        tf_boxconv.integral_image(X[0])
    with pytest.raises(TypeError, match=r"`dtype` must be float32 or float64.*float16"):
        tf_boxconv.integral_image(X, dtype="float16")
    with pytest.raises(ValueError, match="`data_format` must be"):
        tf_boxconv.integral_image(X, data_format="last")


def test_float32_boxes_serve_float64_images():
    out = tf_boxconv.box_conv2d(tensor(X, "float64"), tensor(BOXES))
    np.testing.assert_allclose(to_float64(out), reference.box_conv2d(X, BOXES), atol=1e-12)


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
    out, input_grad, boxes_grad = gradients(X, boxes_with(*box), normalization=normalization)
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
def test_endless_boxes_cover_the_plane(box):
    sums, input_grad, boxes_grad = gradients(X, boxes_with(*box), normalization=None)
    inside = np.clip(box, -100, 100).astype(np.float32)
    expected = reference.box_conv2d(X, boxes_with(*inside), normalization=None)
    np.testing.assert_allclose(sums, expected, atol=1e-4)
    assert np.all(np.isfinite(input_grad)) and np.all(np.isfinite(boxes_grad))
    means, *_ = gradients(X, boxes_with(*box), normalization="valid")
    expected = reference.box_conv2d(X, boxes_with(*inside), normalization="valid")
    np.testing.assert_allclose(means, expected, atol=1e-5)
    areas, input_grad, boxes_grad = gradients(X, boxes_with(*box))
    np.testing.assert_allclose(areas[..., 2], 0, atol=1e-20)
    assert np.all(np.isfinite(input_grad)) and np.all(np.isfinite(boxes_grad))


@pytest.mark.parametrize("box", [(1e30, 1e30, 2e30, 2e30), (-INF, -INF, -1e30, -1e30)])
def test_far_boxes_see_nothing(box):
    for normalization in ("area", "valid", None):
        out, _, boxes_grad = gradients(X, boxes_with(*box), normalization=normalization)
        assert np.all(out[..., 2] == 0) and np.all(boxes_grad[1, 0] == 0)


def test_float64_boxes_at_the_ends_of_the_type():
    x = X.astype(np.float64)
    for box in ((-1e308, -1e308, 1e308, 1e308), (0, 0, 5e-324, 5e-324), (0, 0, 1e-200, 1)):
        boxes = BOXES.astype(np.float64)
        boxes[1, 0] = box
        out, input_grad, boxes_grad = gradients(x, boxes)
        for found in (out, input_grad, boxes_grad):
            assert np.all(np.isfinite(found))


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(
    ("shape", "boxes"),
    [
        ((0, 6, 5, 3), (3, 2)),
        ((2, 0, 5, 3), (3, 2)),
        ((2, 6, 0, 3), (3, 2)),
        ((2, 0, 0, 3), (3, 2)),
        ((2, 6, 5, 0), (0, 2)),
        ((2, 6, 5, 3), (3, 0)),
    ],
)
def test_zero_sizes(shape, boxes, data_format):
    n, h, w, c = shape
    shape = shape if data_format == "channels_last" else (n, c, h, w)
    out, input_grad, boxes_grad = gradients(
        np.ones(shape, np.float32), np.ones((*boxes, 4), np.float32), strides=2,
        data_format=data_format,
    )  # fmt: skip
    expected = (n, -(-h // 2), -(-w // 2), boxes[0] * boxes[1])
    if data_format == "channels_first":
        expected = (expected[0], expected[3], *expected[1:3])
    assert out.shape == expected
    assert np.all(input_grad == 0) and input_grad.shape == shape
    assert np.all(boxes_grad == 0) and boxes_grad.shape == (*boxes, 4)


def test_integral_image_of_zero_sizes():
    for shape in ((0, 6, 5, 3), (2, 0, 5, 3), (2, 6, 0, 3), (2, 6, 5, 0)):
        table = tf_boxconv.integral_image(np.ones(shape, np.float32))
        assert tuple(table.shape) == (shape[0], shape[1] + 1, shape[2] + 1, shape[3])
        table = to_float64(table)
        assert np.all(table[:, 0] == 0) and np.all(table[:, :, 0] == 0)


@pytest.mark.parametrize("dtype", ["float16", "int32", "float64"])
def test_boxes_of_another_dtype_are_named_with_the_remedy(dtype):
    if BACKEND == "jax" and dtype == "float64":
        pytest.skip("JAX has no float64 here")
    boxes = keras.ops.zeros((1, 1, 4), dtype)
    with pytest.raises(TypeError, match=f"`boxes` must be float32.*dtype={dtype}; convert them"):
        tf_boxconv.box_conv2d(np.zeros((1, 2, 2, 1), np.float32), boxes)
