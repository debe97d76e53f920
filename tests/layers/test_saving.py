"""Models keep their outputs and their boxes when they are saved, loaded and cloned."""

import keras
import numpy as np
import pytest

from tests import tolerances
from tests.backend import to_float64
from tests.images import DATA_FORMATS, image_shape, images
from tests.layers.cases import LAYERS, inner_box_layer, make
from tf_boxconv import layers
from tf_boxconv.layers import BoxBottleneck, BoxConv2D, DepthwiseBoxConv2D

each_layer = pytest.mark.parametrize("name", LAYERS)


def trained(model, x):
    """Trains the model for a step, so that its weights differ from their initial values."""
    model.compile(keras.optimizers.Adam(0.01), "mse")
    model.fit(x, np.ones((len(x), *model.output_shape[1:])), verbose=0)
    return model


@each_layer
@pytest.mark.parametrize(("data_format", "max_size"), zip(DATA_FORMATS, (None, 7), strict=True))
def test_keras_file_round_trip(name, data_format, max_size, tmp_path):
    x = images(image_shape(data_format))
    inputs = keras.Input(x.shape[1:])
    outputs = make(name, data_format=data_format, max_size=max_size)(inputs)
    model = trained(keras.Model(inputs, outputs), x)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    np.testing.assert_array_equal(
        to_float64(loaded.layers[1].boxes), to_float64(model.layers[1].boxes)
    )
    assert loaded.to_json() == model.to_json()
    # The loaded model continues training with the same optimizer state.
    for continued in (model, loaded):
        continued.fit(x, np.zeros((len(x), *model.output_shape[1:])), verbose=0, shuffle=False)
    np.testing.assert_allclose(
        to_float64(loaded.layers[1].boxes),
        to_float64(model.layers[1].boxes),
        atol=tolerances.BOX_BOUNDS,
    )


class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.blocks = [BoxConv2D(8), BoxBottleneck(), DepthwiseBoxConv2D(2)]

    def call(self, inputs, training=False):
        for block in self.blocks:
            inputs = block(inputs, training=training)
        return inputs


def test_keras_file_round_trip_of_a_subclassed_model(tmp_path):
    x = images((2, 9, 11, 3))
    model = Subclassed()
    wanted = to_float64(model(x))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(
        tmp_path / "model.keras", custom_objects={"Subclassed": Subclassed}
    )
    np.testing.assert_array_equal(to_float64(loaded(x)), wanted)


def test_a_file_keeps_the_max_size_that_a_layer_took_from_its_first_input(tmp_path):
    """The model itself has inputs of unknown size."""
    x = images((2, 9, 11, 3))
    layer = BoxConv2D(4)
    layer.build(x.shape)
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    assert loaded.layers[1].scale == layer.scale


@each_layer
def test_weight_files_keep_boxes_in_pixels(name, tmp_path):
    """The layer that loads the file was built on planes of another size."""
    first, second = make(name), make(name)
    models = []
    for layer, size in ((first, (9, 11)), (second, (40, 60))):
        inputs = keras.Input((*size, 8))
        models.append(keras.Model(inputs, layer(inputs)))
    models[0].save_weights(tmp_path / "model.weights.h5")
    models[1].load_weights(tmp_path / "model.weights.h5")
    assert inner_box_layer(first).scale == inner_box_layer(second).scale
    np.testing.assert_allclose(
        to_float64(second.boxes), to_float64(first.boxes), **tolerances.EDGES["float32"]
    )
    x = images((2, 9, 11, 8))
    got, expected = to_float64(second(x)), to_float64(first(x))
    np.testing.assert_allclose(got, expected, **tolerances.MODELS["float32"])


def test_saved_boxes_keep_their_scale(tmp_path):
    """Later versions may choose another scale for new layers. A file contains its own."""
    x = images((2, 9, 11, 3))
    model = keras.Sequential([keras.Input(x.shape[1:]), BoxConv2D(4)])
    scale = next(weight for weight in model.layers[0].weights if weight.name == "scale")
    scale.assign(np.array([0.37 * 9, 0.37 * 11, *scale[2:]]))
    model.layers[0].set_boxes(model.layers[0].boxes * 0.37)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.layers[0].scale, (0.37 * 9, 0.37 * 11), rtol=1e-6)
    np.testing.assert_allclose(
        to_float64(loaded.layers[0].boxes), to_float64(model.layers[0].boxes), rtol=1e-6
    )
    np.testing.assert_allclose(to_float64(loaded(x)), to_float64(model(x)), rtol=1e-4, atol=1e-5)


def test_weights_of_another_architecture_are_refused(tmp_path):
    inputs = keras.Input((9, 11, 8))
    keras.Model(inputs, BoxConv2D(5)(inputs)).save_weights(tmp_path / "model.weights.h5")
    other = keras.Model(inputs, BoxConv2D(5, use_bias=False)(inputs))
    with pytest.raises(ValueError, match="expected 3 variables, but received 4"):
        other.load_weights(tmp_path / "model.weights.h5")


@each_layer
def test_clone_model(name):
    x = images(image_shape("channels_last"))
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, make(name)(inputs))
    clone = keras.models.clone_model(model)
    assert clone.layers[1] is not model.layers[1]
    assert clone.count_params() == model.count_params()
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(clone.predict(x, verbose=0), model.predict(x, verbose=0))


@each_layer
def test_json(name):
    inputs = keras.Input((9, 11, 8))
    model = keras.Model(inputs, make(name)(inputs))
    revived = keras.models.model_from_json(model.to_json())
    assert revived.to_json() == model.to_json()


@pytest.mark.parametrize("cls", [DepthwiseBoxConv2D, BoxConv2D, BoxBottleneck])
def test_layers_are_registered(cls):
    assert keras.saving.get_registered_name(cls) == f"tf_boxconv>{cls.__name__}"
    assert cls.__name__ in layers.__all__
