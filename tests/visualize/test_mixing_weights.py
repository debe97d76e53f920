"""`mixing_weights` finds the 1x1 convolution that mixes the outputs of a box layer."""

import keras
import numpy as np
import pytest

from examples.pose import models
from tf_boxconv import description, visualize
from tf_boxconv.layers import BoxConv2D, DepthwiseBoxConv2D
from tf_boxconv.visualize import box_drawing


def _image(data_format="channels_last"):
    return keras.Input((8, 8, 6) if data_format == "channels_last" else (6, 8, 8))


def test_a_box_conv2d_has_its_own_mixing_weights():
    layer = BoxConv2D(5, depth_multiplier=2)
    layer(np.zeros((1, 8, 8, 3)))
    np.testing.assert_array_equal(visualize.mixing_weights(layer), np.asarray(layer.kernel))


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_1x1_convolution_behind_a_concatenation_is_found(data_format):
    image = _image(data_format)
    boxes = DepthwiseBoxConv2D(2, data_format=data_format)
    axis = -1 if data_format == "channels_last" else 1
    x = keras.layers.Concatenate(axis=axis)([image, boxes(image), image])
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(axis=axis)(x))
    x = keras.layers.GaussianDropout(0.1)(keras.layers.PReLU()(x))
    convolution = keras.layers.Conv2D(4, 1, data_format=data_format)
    keras.Model(image, convolution(x))
    kernel = np.asarray(convolution.kernel)[0, 0]
    assert kernel.shape == (24, 4)
    np.testing.assert_array_equal(visualize.mixing_weights(boxes), kernel[6:18])


def test_a_dense_layer_behind_a_layer_normalization_is_found():
    """As in ConvNeXt."""
    image = _image()
    boxes = DepthwiseBoxConv2D(2, data_format="channels_last")
    dense = keras.layers.Dense(4)
    keras.Model(image, dense(keras.layers.LayerNormalization()(boxes(image))))
    kernel = np.asarray(dense.kernel)
    assert kernel.shape == (12, 4)
    np.testing.assert_array_equal(visualize.mixing_weights(boxes), kernel)


def test_a_dense_layer_does_not_mix_channels_that_come_first():
    image = _image("channels_first")
    boxes = DepthwiseBoxConv2D(data_format="channels_first")
    keras.Model(image, keras.layers.Dense(4)(boxes(image)))
    assert visualize.mixing_weights(boxes) is None


def test_a_1x1_convolution_behind_nested_concatenations_is_found():
    image = _image()
    boxes = DepthwiseBoxConv2D(1)
    x = keras.layers.Concatenate()([image, boxes(image)])
    x = keras.layers.Concatenate()([keras.layers.ReLU()(image), x])
    convolution = keras.layers.Conv2D(4, 1)
    keras.Model(image, convolution(x))
    kernel = np.asarray(convolution.kernel)[0, 0]
    np.testing.assert_array_equal(visualize.mixing_weights(boxes), kernel[12:18])


@pytest.mark.parametrize(
    "following",
    [
        keras.layers.Conv2D(4, 3),
        keras.layers.Conv2D(6, 1, groups=2),
        keras.layers.DepthwiseConv2D(1),
        keras.layers.Concatenate(axis=1),
        keras.layers.AveragePooling2D(2),
    ],
)
def test_other_layers_are_not_taken_for_a_1x1_convolution(following):
    image = _image()
    boxes = DepthwiseBoxConv2D()
    x = boxes(image)
    x = following([x, x]) if isinstance(following, keras.layers.Concatenate) else following(x)
    keras.Model(image, keras.layers.Conv2D(2, 3)(x))
    assert visualize.mixing_weights(boxes) is None


def test_a_layer_outside_a_model_has_none():
    layer = DepthwiseBoxConv2D()
    layer(np.zeros((1, 8, 8, 3)))
    assert visualize.mixing_weights(layer) is None


def test_all_box_layers_of_the_hourglass_have_mixing_weights():
    """Behind a concatenation, a batch normalization and an activation."""
    model = models.build("hourglass", image_size=32, width=8, depth=1, stacks=1)
    layers = list(description.box_layers(model))
    assert len(layers) == 6
    for layer in layers:
        channels = layer.boxes.shape[0]
        mix = model.get_layer(layer.name.replace("_far", "_expand"))
        kernel = np.asarray(mix.kernel)[0, 0]
        np.testing.assert_array_equal(visualize.mixing_weights(layer), kernel[channels:])


def _mixing(filters=5, **options):
    return keras.layers.Conv2D(filters, 1, **options)


def test_a_layer_that_is_called_twice_is_followed_from_the_call_after_the_boxes():
    image, relu, boxes = keras.Input((8, 8, 4)), keras.layers.ReLU(), DepthwiseBoxConv2D(2)
    before, after = _mixing(8), _mixing(5)
    after(relu(boxes(before(relu(image)))))
    np.testing.assert_array_equal(
        visualize.mixing_weights(boxes), np.asarray(after.kernel)[0, 0][:16]
    )


def test_a_layer_before_and_after_the_boxes_in_one_concatenation():
    image, relu, boxes = keras.Input((8, 8, 4)), keras.layers.ReLU(), DepthwiseBoxConv2D(2)
    after = _mixing()
    after(keras.layers.Concatenate()([relu(image), relu(boxes(image))]))
    np.testing.assert_array_equal(
        visualize.mixing_weights(boxes), np.asarray(after.kernel)[0, 0][4:]
    )


def test_a_replaced_head_does_not_count():
    boxes = DepthwiseBoxConv2D(2)
    model = keras.Sequential([keras.Input((8, 8, 4)), boxes, _mixing(5)])
    model.pop()
    model.add(_mixing(7))
    np.testing.assert_array_equal(
        visualize.mixing_weights(boxes), np.asarray(model.layers[-1].kernel)[0, 0]
    )


@pytest.mark.parametrize("sequential", [False, True])
def test_the_head_of_the_model_counts(sequential):
    image, boxes, first, second = _image(), DepthwiseBoxConv2D(2), _mixing(5), _mixing(5)
    if sequential:
        old = keras.Sequential([image, boxes, first])
    else:
        old = keras.Model(image, first(boxes(image)))
    new = keras.Model(old.inputs, second(boxes.output))
    for model, head in ((old, first), (new, second), (None, first)):
        np.testing.assert_array_equal(
            visualize.mixing_weights(boxes, model), np.asarray(head.kernel)[0, 0]
        )
    head = np.asarray(second.kernel)[0, 0]
    expected = np.linalg.norm(head, axis=-1).reshape(6, 2)
    np.testing.assert_allclose(box_drawing.box_weights(boxes, new), expected)


def test_integer_kernels_are_scaled():
    boxes, dense = DepthwiseBoxConv2D(2), keras.layers.Dense(3)
    model = keras.Sequential([keras.Input((8, 8, 4)), boxes, dense])
    before = visualize.mixing_weights(boxes)
    model.quantize("int8")
    after = visualize.mixing_weights(boxes)
    assert 0 < np.abs(after - before).max() < np.abs(before).max() / 100
