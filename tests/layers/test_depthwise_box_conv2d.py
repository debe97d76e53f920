"""DepthwiseBoxConv2D: Keras's own tests of layers, and values against the reference."""

import keras
import numpy as np
import pytest
from keras.src import testing

from tests import reference, tolerances
from tests.backend import dtype_name, to_float64
from tests.boxes import boxes_anywhere
from tests.images import DATA_FORMATS, image_shape, images
from tf_boxconv.constraints import BoxConstraint
from tf_boxconv.initializers import RandomBoxes
from tf_boxconv.layers import DepthwiseBoxConv2D


class DepthwiseBoxConv2DTest(testing.TestCase):
    def test_basic(self):
        for data_format in DATA_FORMATS:
            self.run_layer_test(
                DepthwiseBoxConv2D,
                init_kwargs={
                    "depth_multiplier": 3,
                    "strides": (2, 3),
                    "data_format": data_format,
                    "normalization": "valid",
                    "activation": "relu",
                    "use_bias": True,
                    "bias_regularizer": "l2",
                    "boxes_regularizer": "l1",
                    "activity_regularizer": "l2",
                    "boxes_constraint": None,
                },
                input_shape=image_shape(data_format, 5, 7, 4),
                expected_output_shape=image_shape(data_format, 3, 3, 12),
                expected_num_trainable_weights=2,
                expected_num_non_trainable_weights=1,
                expected_num_seed_generators=0,
                expected_num_losses=3,
                supports_masking=False,
            )

    def test_defaults(self):
        self.run_layer_test(
            DepthwiseBoxConv2D,
            init_kwargs={},
            input_shape=(2, 5, 7, 4),
            expected_output_shape=(2, 5, 7, 4),
            expected_num_trainable_weights=1,
            expected_num_non_trainable_weights=1,
            expected_num_losses=0,
            supports_masking=False,
        )


@pytest.mark.parametrize("data_format", DATA_FORMATS)
@pytest.mark.parametrize("strides", [1, (3, 2)])
@pytest.mark.parametrize("normalization", ["area", "valid", None])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_against_the_reference(data_format, strides, normalization, dtype):
    x = images(image_shape(data_format, 9, 11, 5), dtype=dtype)
    boxes = boxes_anywhere(5, 3, reach=9)
    layer = DepthwiseBoxConv2D(
        3,
        strides=strides,
        data_format=data_format,
        normalization=normalization,
        # Some backends compute Keras's own activations in float32 even for float64.
        activation=lambda x: x * keras.ops.abs(x),
        use_bias=True,
        bias_initializer="random_normal",
        dtype=dtype,
    )
    layer.build(x.shape)
    layer.set_boxes(boxes)
    boxes = boxes if dtype == "float64" else boxes.astype(np.float32)
    wanted = reference.box_conv2d(x, boxes, strides, normalization, data_format)
    bias = to_float64(layer.bias)
    wanted = wanted + (bias if data_format == "channels_last" else bias[:, None, None])
    got = layer(x)
    assert dtype_name(got) == dtype
    wanted = wanted * np.abs(wanted)
    np.testing.assert_allclose(to_float64(got), wanted, **tolerances.MODELS[dtype])


def test_the_boxes_of_a_channel_are_neighbours_in_the_output():
    """Output channel `c * M + m` is channel `c` under box `m`."""
    x = images((1, 6, 7, 3))
    layer = DepthwiseBoxConv2D(2)
    layer.build(x.shape)
    identity, shift = [-0.5, -0.5, 0.5, 0.5], [0.5, -0.5, 1.5, 0.5]
    layer.set_boxes([[identity, shift]] * 3)
    y = to_float64(layer(x))
    np.testing.assert_allclose(y[..., 0::2], x, **tolerances.VALUES["float32"])
    np.testing.assert_allclose(y[:, :-1, :, 1::2], x[:, 1:], **tolerances.VALUES["float32"])


def test_boxes_are_in_pixels_whatever_the_scale():
    given = np.float32(boxes_anywhere(4, 2, reach=20))
    layer = DepthwiseBoxConv2D(
        2,
        max_size=(24, 48),
        boxes_initializer=lambda shape, dtype=None: keras.ops.convert_to_tensor(given, dtype),
    )
    layer.build((None, 10, 10, 4))
    assert layer.scale[1] == 2 * layer.scale[0]
    np.testing.assert_allclose(to_float64(layer.boxes), given, **tolerances.EDGES["float32"])
    stored = to_float64(layer.weights[0])
    np.testing.assert_allclose(
        stored * np.tile(layer.scale, 2), given, **tolerances.EDGES["float32"]
    )
    layer.set_boxes(given[::-1])
    np.testing.assert_allclose(to_float64(layer.boxes), given[::-1], **tolerances.EDGES["float32"])


@pytest.mark.parametrize("given_as", [list, np.array])
def test_float64_layers_keep_all_digits_of_boxes(given_as):
    """The conversion to stored units and the constraint compute in float64 too."""
    boxes = boxes_anywhere(3, 2, reach=20)
    layer = DepthwiseBoxConv2D(2, max_size=(37, 11), dtype="float64")
    layer.build((None, 37, 11, 3))
    layer.set_boxes(given_as(boxes.tolist()))
    assert dtype_name(layer.boxes) == dtype_name(layer.weights[0]) == "float64"
    np.testing.assert_allclose(to_float64(layer.boxes), boxes, **tolerances.EDGES["float64"])
    (weight,) = layer.trainable_weights
    weight.assign(weight.constraint(weight))
    projected = to_float64(layer.boxes)
    moved = projected != boxes
    assert 0 < moved.sum() < moved.size  # the constraint accepts some edges and moves others
    exact = to_float64(BoxConstraint(max_size=(37, 11))(boxes))
    np.testing.assert_allclose(projected, exact, **tolerances.VALUES["float64"])


@pytest.mark.parametrize("data_format", DATA_FORMATS)
def test_max_size_defaults_to_the_size_of_the_input(data_format):
    layer = DepthwiseBoxConv2D(64, data_format=data_format)
    layer.build(image_shape(data_format, 20, 400))
    boxes = to_float64(layer.boxes)
    assert 5 < np.abs(boxes[..., 0::2]).max() <= 10
    assert 100 < np.abs(boxes[..., 1::2]).max() <= 200
    assert layer.max_size is None


def test_initializers_and_constraints_keep_their_own_max_size():
    layer = DepthwiseBoxConv2D(
        64,
        max_size=100,
        boxes_initializer=RandomBoxes(max_size=10),
        boxes_constraint=BoxConstraint(max_size=3),
    )
    layer.build((None, 50, 50, 2))
    assert np.abs(to_float64(layer.boxes)).max() <= 5
    (weight,) = layer.trainable_weights
    weight.assign(weight.constraint(weight))
    assert np.abs(to_float64(layer.boxes)).max() <= 3 + tolerances.BOX_BOUNDS


def test_regularizers_and_constraints_receive_pixels():
    seen = []
    layer = DepthwiseBoxConv2D(
        2,
        max_size=37,
        boxes_regularizer=lambda boxes: 0.5 * keras.ops.sum(keras.ops.abs(boxes)),
        boxes_constraint=lambda boxes: seen.append(to_float64(boxes)) or boxes + 1.0,
    )
    boxes = np.float32(boxes_anywhere(4, 2, reach=9))
    layer.build((None, 37, 37, 4))
    layer.set_boxes(boxes)
    np.testing.assert_allclose(
        to_float64(layer.losses[0]), 0.5 * np.abs(boxes).sum(), **tolerances.VALUES["float32"]
    )
    (weight,) = layer.trainable_weights
    weight.assign(weight.constraint(weight))
    np.testing.assert_allclose(seen[0], boxes, **tolerances.EDGES["float32"])
    np.testing.assert_allclose(to_float64(layer.boxes), boxes + 1, **tolerances.VALUES["float32"])


def test_the_constraint_leaves_valid_boxes_bit_for_bit():
    layer = DepthwiseBoxConv2D(8, max_size=(37, 11))
    layer.build((None, 37, 11, 8))
    (weight,) = layer.trainable_weights
    before = to_float64(weight)
    weight.assign(weight.constraint(weight))
    np.testing.assert_array_equal(to_float64(weight), before)


def test_calls_never_change_boxes():
    """Not even invalid ones, which the constraint repairs only after an optimizer's step."""
    layer = DepthwiseBoxConv2D(2)
    x = images((1, 6, 7, 3))
    layer.build(x.shape)
    layer.set_boxes(np.zeros((3, 2, 4)))
    for training in (False, True):
        np.testing.assert_array_equal(to_float64(layer(x, training=training)), 0)
    np.testing.assert_array_equal(to_float64(layer.boxes), 0)


@pytest.mark.parametrize("normalization", ["area", "valid", None])
def test_planes_of_one_pixel(normalization):
    x = images((3, 1, 1, 4))
    layer = DepthwiseBoxConv2D(2, normalization=normalization)
    got, boxes = to_float64(layer(x)), to_float64(layer.boxes)
    wanted = reference.box_conv2d(x, boxes, 1, normalization)
    np.testing.assert_allclose(got, wanted, **tolerances.VALUES["float32"])


@pytest.mark.parametrize("shape", [(0, 6, 7, 3), (2, 0, 7, 3), (2, 6, 0, 3), (2, 6, 7, 0)])
def test_inputs_of_size_zero_give_outputs_of_size_zero(shape):
    layer = DepthwiseBoxConv2D(2, use_bias=True)
    x = np.zeros(shape, np.float32)
    assert layer(x).shape == layer.compute_output_shape(shape)
    assert layer(x).shape == (*shape[:3], 2 * shape[3])


def test_the_global_seed_decides_the_initial_boxes():
    def boxes():
        layer = DepthwiseBoxConv2D(2)
        layer.build((None, 9, 9, 3))
        return to_float64(layer.boxes)

    keras.utils.set_random_seed(1)
    first, second = boxes(), boxes()
    keras.utils.set_random_seed(1)
    np.testing.assert_array_equal(boxes(), first)
    assert np.any(first != second)
