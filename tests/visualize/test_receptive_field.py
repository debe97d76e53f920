"""The effective receptive field against known fields and finite differences."""

import keras
import numpy as np
import pytest

from tests.backend import to_float64
from tests.boxes import boxes_around_pixel
from tests.images import DATA_FORMATS, images
from tests.tolerances import VALUES
from tf_boxconv import visualize
from tf_boxconv.layers import BoxConv2D, DepthwiseBoxConv2D


def _model(layer, size=(13, 15), channels=1, data_format="channels_last"):
    shape = (*size, channels) if data_format == "channels_last" else (channels, *size)
    image = keras.Input(shape)
    return keras.Model(image, layer(image))


def test_the_field_of_one_box_is_its_kernel():
    layer = DepthwiseBoxConv2D(1)
    model = _model(layer)
    layer.set_boxes([[[-2.3, -1.0, 1.2, 3.6]]])
    field = visualize.effective_receptive_field(model, images((3, 13, 15, 1)))
    kernel = visualize.effective_kernels(layer)[..., 0, 0]
    expected = np.zeros((13, 15))
    ry, rx = kernel.shape[0] // 2, kernel.shape[1] // 2
    expected[6 - ry : 7 + ry, 7 - rx : 8 + rx] = kernel
    np.testing.assert_allclose(field, expected, **VALUES["float32"])


@pytest.mark.parametrize("data_format", DATA_FORMATS)
@pytest.mark.parametrize("channel", [None, 1])
def test_the_field_is_of_one_channel_or_of_all(data_format, channel):
    layer = BoxConv2D(4, depth_multiplier=2, data_format=data_format)
    model = _model(layer, channels=3, data_format=data_format)
    layer.set_boxes(boxes_around_pixel(3, 2, reach=3))
    x = images((2, *model.input_shape[1:]))
    field = visualize.effective_receptive_field(model, x, channel, data_format)
    kernels = np.stack([visualize.effective_kernel(layer, f) for f in range(4)])
    kernel = kernels.sum(0) if channel is None else kernels[channel]
    expected = np.zeros((13, 15))
    ry, rx = kernel.shape[0] // 2, kernel.shape[1] // 2
    expected[6 - ry : 7 + ry, 7 - rx : 8 + rx] = np.abs(kernel).sum(-1)
    np.testing.assert_allclose(field, expected, **VALUES["float32"])


def test_the_field_of_a_nonlinear_model_equals_finite_differences():
    inputs = keras.Input((6, 7, 2))
    y = keras.layers.Conv2D(4, 3, padding="same", activation="tanh")(inputs)
    y = keras.layers.BatchNormalization()(y)
    model = keras.Model(inputs, DepthwiseBoxConv2D()(y))
    model.layers[-1].set_boxes(np.tile([-1.7, -0.6, 1.1, 2.2], (4, 1, 1)))
    x = images((2, 6, 7, 2))
    expected, step = np.zeros((6, 7)), 1e-2
    for image in x:
        moves = step * np.eye(image.size, dtype=np.float32).reshape(-1, *image.shape)
        ends = [
            to_float64(model(image + sign * moves, training=False))[:, 3, 3].sum(axis=-1)
            for sign in (1, -1)
        ]
        slopes = np.abs(ends[0] - ends[1]).reshape(image.shape) / (2 * step)
        expected += slopes.sum(axis=-1) / len(x)
    field = visualize.effective_receptive_field(model, x)
    np.testing.assert_allclose(field, expected, atol=2e-3 * expected.max())
    assert np.count_nonzero(expected) > 10


def test_the_field_of_an_empty_box_is_zero():
    layer = DepthwiseBoxConv2D(1)
    model = _model(layer)
    layer.set_boxes([[[1.0, 1.0, 0.0, 0.0]]])
    assert not visualize.effective_receptive_field(model, np.ones((1, 13, 15, 1))).any()


def test_errors_name_the_argument():
    model = _model(DepthwiseBoxConv2D(1))
    with pytest.raises(ValueError, match=r"`inputs` must be a 4D batch .*\(13, 15, 1\)"):
        visualize.effective_receptive_field(model, np.ones((13, 15, 1)))
    with pytest.raises(ValueError, match=r"`channel` must be an integer from 0 to 0.*channel=1"):
        visualize.effective_receptive_field(model, np.ones((1, 13, 15, 1)), channel=1)
    with pytest.raises(ValueError, match=r"`channel` must be an integer.*channel=0\.0"):
        visualize.effective_receptive_field(model, np.ones((1, 13, 15, 1)), channel=0.0)
    with pytest.raises(ValueError, match="`data_format` must be"):
        visualize.effective_receptive_field(model, np.ones((1, 13, 15, 1)), data_format="NHWC")
    flat = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten()])
    image = keras.Input((4, 4, 1))
    two = keras.Model(image, [keras.layers.ReLU()(image)] * 2)
    for other in (flat, two):
        with pytest.raises(ValueError, match="`model` must have a single 4D output"):
            visualize.effective_receptive_field(other, np.ones((1, 4, 4, 1)))
    integers = keras.Input((4, 4, 1), dtype="uint8")
    model = keras.Model(integers, DepthwiseBoxConv2D(1)(keras.layers.Rescaling(1 / 255)(integers)))
    with pytest.raises(ValueError, match=r"`model` must have floating inputs.*uint8"):
        visualize.effective_receptive_field(model, np.ones((1, 4, 4, 1)))


def test_a_constant_sum_of_the_channels_is_refused():
    image = keras.Input((13, 15, 3))
    x = BoxConv2D(4, activation="tanh")(image)
    model = keras.Model(image, keras.layers.Conv2D(5, 1, activation="softmax")(x))
    x = images((2, 13, 15, 3))
    with pytest.raises(ValueError, match="ends in logits, or `channel`"):
        visualize.effective_receptive_field(model, x)
    assert visualize.effective_receptive_field(model, x, channel=1).max() > 1e-3
