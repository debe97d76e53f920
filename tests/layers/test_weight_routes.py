"""Boxes keep their size in pixels when weights are copied to a layer built on another size.

A route is a function that copies the weights of `source` to `target`, or returns a new model with
the weights of `source`.
"""

import copy
import inspect
import json
import tempfile
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format as legacy

from tests import tolerances
from tests.backend import BACKEND, to_float64
from tests.images import images
from tests.layers.cases import LAYERS, inner_box_layer, make
from tf_boxconv import description
from tf_boxconv.layers import BoxConv2D, DepthwiseBoxConv2D
from tf_boxconv.layers.base_box_conv import BaseBoxConv2D


def model_for(size, name, **kwargs):
    """A model of one layer, built on planes of `size`."""
    inputs = keras.Input((*size, 8))
    return keras.Model(inputs, make(name, name="layer", **kwargs)(inputs), name="model")


def pixels(model):
    return to_float64(inner_box_layer(model.layers[1]).boxes)


def by_keras_file(source, target, folder):
    source.save(folder / "model.keras")
    return keras.models.load_model(folder / "model.keras")


def by_weights_file(source, target, folder):
    source.save_weights(folder / "model.weights.h5")
    target.load_weights(folder / "model.weights.h5")


def save_legacy_weights(model, path):
    """Writes the `.h5` file that `save_weights` of earlier versions of Keras wrote."""
    with h5py.File(path, "w") as file:
        legacy.save_weights_to_hdf5_group(file, model)


def by_legacy_weights_file(source, target, folder):
    save_legacy_weights(source, folder / "weights.h5")
    target.load_weights(folder / "weights.h5")


def by_legacy_weights_file_by_name(source, target, folder):
    save_legacy_weights(source, folder / "weights.h5")
    target.load_weights(folder / "weights.h5", by_name=True, skip_mismatch=True)


def by_legacy_model_file(source, target, folder):
    source.save(folder / "model.h5")
    return keras.models.load_model(folder / "model.h5")


def by_set_weights(source, target, folder):
    target.set_weights(source.get_weights())


def by_set_weights_of_the_layer(source, target, folder):
    target.layers[1].set_weights(source.layers[1].get_weights())


def by_clone(source, target, folder):
    clone = keras.models.clone_model(source)
    clone.set_weights(source.get_weights())
    return clone


def by_variables_in_order(source, target, folder):
    for i in range(len(target.weights)):
        target.weights[i].assign(source.weights[i].numpy())


def by_variables_in_reverse(source, target, folder):
    for i in reversed(range(len(target.weights))):
        target.weights[i].assign(source.weights[i].numpy())


def by_deep_copy(source, target, folder):
    return copy.deepcopy(source)


def by_state_tree(source, target, folder):
    for model in (source, target):
        model.compile("sgd", "mse")
    target.set_state_tree(source.get_state_tree(value_format="numpy_array"))


def by_backup_and_restore(source, target, folder):
    for model in (source, target):
        model.compile(keras.optimizers.SGD(0.0), "mse")
        x = np.zeros((1, *model.input_shape[1:]), np.float32)
        backup = keras.callbacks.BackupAndRestore(folder, delete_checkpoint=False)
        # The second model restores the backup and skips the only epoch.
        model.fit(x, model.predict(x, verbose=0), epochs=1, verbose=0, callbacks=[backup])


def by_tensorflow_checkpoint(source, target, folder):
    import tensorflow as tf

    path = tf.train.Checkpoint(model=source).save(str(folder / "checkpoint"))
    tf.train.Checkpoint(model=target).restore(path).assert_existing_objects_matched()


def by_tensorflow_checkpoint_of_optimizer_and_model(source, target, folder):
    import tensorflow as tf

    optimizers = [keras.optimizers.Adam(use_ema=True) for _ in (source, target)]
    for model, optimizer in zip((source, target), optimizers, strict=True):
        optimizer.build(model.trainable_variables)
    path = tf.train.Checkpoint(model=source, optimizer=optimizers[0]).save(str(folder / "state"))
    tf.train.Checkpoint(model=target, optimizer=optimizers[1]).restore(path)


def by_torch_state(source, target, folder):
    target.load_state_dict(source.state_dict())


ROUTES = [
    by_keras_file,
    by_weights_file,
    by_legacy_weights_file,
    by_legacy_weights_file_by_name,
    by_legacy_model_file,
    by_set_weights,
    by_set_weights_of_the_layer,
    by_clone,
    by_variables_in_order,
    by_variables_in_reverse,
    by_deep_copy,
    by_state_tree,
    by_backup_and_restore,
]
if BACKEND == "tensorflow":
    ROUTES += [by_tensorflow_checkpoint, by_tensorflow_checkpoint_of_optimizer_and_model]
if BACKEND == "torch":
    ROUTES += [by_torch_state]


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("route", ROUTES)
def test_boxes_keep_their_size_in_pixels(route, name, tmp_path):
    """Copies from large planes to small ones. Some boxes exceed the small planes."""
    kwargs = {"data_format": "channels_last"}
    source, target = model_for((40, 66), name, **kwargs), model_for((9, 11), name, **kwargs)
    wanted = pixels(source)
    got = pixels(route(source, target, tmp_path) or target)
    np.testing.assert_allclose(got, wanted, **tolerances.EDGES["float32"])
    assert np.abs(wanted).max() > 11


@pytest.mark.parametrize("route", [by_keras_file, by_weights_file, by_set_weights, by_clone])
@pytest.mark.parametrize("kwargs", [{"trainable": False}, {"dtype": "mixed_float16"}])
def test_boxes_of_frozen_and_mixed_precision_layers_keep_their_size_in_pixels(
    route, kwargs, tmp_path
):
    source, target = (
        model_for((40, 66), "box_conv2d", **kwargs),
        model_for((9, 11), "box_conv2d", **kwargs),
    )
    got = route(source, target, tmp_path) or target
    np.testing.assert_allclose(pixels(got), pixels(source), **tolerances.EDGES["float32"])
    for box_layer in (source.layers[1], got.layers[1]):
        assert {str(w.dtype) for w in box_layer.weights[:1] + box_layer.weights[-1:]} == {"float32"}


MISMATCHES = {
    "the kernel does not fit": ({"filters": 5}, {"filters": 7}),
    "the boxes do not fit": ({"depth_multiplier": 2}, {"depth_multiplier": 3}),
    "nothing fits": ({"filters": 5}, {"filters": 7, "depth_multiplier": 2}),
    "another number of weights": ({}, {"use_bias": False}),
}


@pytest.mark.parametrize("mismatch", MISMATCHES)
@pytest.mark.parametrize("file", ["weights", "legacy", "legacy by name"])
def test_skip_mismatch_loads_boxes_in_pixels_or_leaves_them(mismatch, file, tmp_path):
    first, second = MISMATCHES[mismatch]
    source = model_for((9, 11), "box_conv2d", **first)
    target = model_for((40, 60), "box_conv2d", **second)
    target_boxes, source_boxes = pixels(target), pixels(source)
    path = tmp_path / "model.weights.h5"
    kwargs = {}
    if file == "weights":
        source.save_weights(path)
    else:
        if file == "legacy by name":
            kwargs = {"by_name": True}
        elif mismatch == "another number of weights":
            pytest.skip("Keras refuses the file without by_name=True")
        elif (
            "skip_mismatch" not in inspect.signature(legacy.load_weights_from_hdf5_group).parameters
        ):
            pytest.skip("this Keras refuses the file without by_name=True")
        path = tmp_path / "weights.h5"
        save_legacy_weights(source, path)
    with pytest.warns(UserWarning):
        target.load_weights(path, skip_mismatch=True, **kwargs)
    got = pixels(target)
    if got.shape == source_boxes.shape and not np.array_equal(got, target_boxes):
        np.testing.assert_allclose(got, source_boxes, **tolerances.EDGES["float32"])
    else:
        np.testing.assert_array_equal(got, target_boxes)


def save_without_scale_weight(self, store):
    """Stores weights like earlier versions, in which the scale was not a weight."""
    trained = self._trainable_variables
    for i, variable in enumerate(trained):
        store[f"{i}"] = variable
    store["scale"] = np.array(self.scale)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("route", [by_keras_file, by_weights_file])
@pytest.mark.parametrize("trainable", [True, False])
def test_files_of_earlier_versions_can_be_loaded(name, route, trainable, tmp_path, monkeypatch):
    source = model_for((40, 66), name, trainable=trainable)
    target = model_for((9, 11), name, trainable=trainable)
    monkeypatch.setattr(BaseBoxConv2D, "save_own_variables", save_without_scale_weight)
    got = route(source, target, tmp_path) or target
    np.testing.assert_allclose(pixels(got), pixels(source), **tolerances.EDGES["float32"])
    for ours, theirs in zip(got.get_weights(), source.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, **tolerances.EDGES["float32"])


def test_the_shipped_network_has_the_boxes_of_its_file():
    """The file is from an earlier version, in which the scale was not a weight."""
    path = Path(__file__).parents[2] / "examples/pose/pretrained/stick_figures/model.keras"
    with zipfile.ZipFile(path) as archive:
        saved_by = json.loads(archive.read("metadata.json"))["keras_version"]
    if [int(n) for n in keras.__version__.split(".")[:2]] < [
        int(n) for n in saved_by.split(".")[:2]
    ]:
        pytest.skip(f"the file was saved by Keras {saved_by}, which this Keras cannot read")
    model = keras.models.load_model(path)
    compared = 0
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
        archive.extract("model.weights.h5", folder)
        with h5py.File(Path(folder) / "model.weights.h5") as file:
            stored = []
            file.visititems(lambda _, item: stored.append(item) if "scale" in item.name else None)
            wanted = [np.array(s.parent["0"]) * np.tile(np.array(s), 2) for s in stored]
    found = [to_float64(layer.boxes) for layer in description.box_layers(model)]
    for boxes in found:
        compared += any(
            boxes.shape == one.shape and np.allclose(boxes, one, **tolerances.EDGES["float32"])
            for one in wanted
        )
    assert compared == len(found) > 0


def test_optimizers_neither_move_nor_average_the_scale():
    model = model_for((9, 11), "box_conv2d")
    before = model.layers[1].scale
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.5, use_ema=True, ema_momentum=0.5)
    model.compile(optimizer, "mse")
    x = images((4, 9, 11, 8))
    model.fit(x, np.zeros((4, 9, 11, 5)), epochs=2, batch_size=2, verbose=0)
    assert model.layers[1].scale == before == (9.0, 11.0)


def test_training_continues_after_weights_of_another_scale_are_set():
    """The constraint in a compiled training step follows the new scale."""
    layer = DepthwiseBoxConv2D(1, max_size=24)
    model = keras.Sequential([keras.Input((12, 12, 8)), layer])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    x, y = images((2, 12, 12, 8)), images((2, 12, 12, 8), seed=1)
    for scale in (24, 96, 6):
        other = DepthwiseBoxConv2D(1, max_size=scale)
        other.build(x.shape)
        layer.set_weights(other.get_weights())
        assert layer.scale == (scale, scale)
        # Four empty boxes, which have no gradient, and four that are far too large.
        boxes = np.zeros((8, 1, 4), np.float32)
        boxes[4:] = [-99, -99, 99, 99]
        layer.set_boxes(boxes)
        model.fit(x, y, verbose=0)
        got = to_float64(layer.boxes)
        np.testing.assert_allclose(
            got[:4], np.tile([-0.5, -0.5, 0.5, 0.5], (4, 1, 1)), atol=tolerances.BOX_BOUNDS
        )
        np.testing.assert_allclose(
            got[4:], np.tile([-24, -24, 24, 24], (4, 1, 1)), rtol=tolerances.BOX_BOUNDS
        )


def test_the_constraint_keeps_its_bounds_when_larger_boxes_are_set():
    """The boxes stay until the next optimizer step brings them within the layer's `max_size`."""
    source, target = model_for((96, 96), "depthwise"), model_for((16, 16), "depthwise")
    target.set_weights(source.get_weights())
    assert np.abs(pixels(target)).max() > 16
    target.compile("sgd", "mse")
    target.fit(np.zeros((1, 16, 16, 8)), np.zeros((1, 16, 16, 16)), verbose=0)
    assert np.abs(pixels(target)).max() <= 16 + tolerances.BOX_BOUNDS


def test_a_file_that_does_not_fit_changes_nothing(tmp_path):
    source, target = model_for((9, 11), "box_conv2d"), model_for((40, 60), "box_conv2d", filters=7)
    before = target.get_weights()
    source.save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(ValueError, match=r"kernel' of layer 'layer' has shape \(24, 7\).*24, 5"):
        target.load_weights(tmp_path / "model.weights.h5")
    for weight, value in zip(before, target.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, value)


def test_files_of_earlier_versions_of_a_subclass_with_weights_of_its_own():
    @keras.saving.register_keras_serializable(package="tests")
    class Extended(BoxConv2D):
        def build(self, input_shape):
            super().build(input_shape)
            self.gain = self.add_weight(name="gain", shape=(), initializer="ones")
            self.steps = self.add_weight(
                name="steps", shape=(), initializer="ones", trainable=False
            )

    def built(size):
        inputs = keras.Input((*size, 8))
        return keras.Model(inputs, Extended(5, name="layer")(inputs))

    def save(self, store):
        variables = self._trainable_variables + self._non_trainable_variables
        kept = [variable for variable in variables if variable is not self._scale_weight]
        store.update({f"{i}": variable.numpy() for i, variable in enumerate(kept)})
        store["scale"] = np.array(self.scale)

    source, target = built((40, 60)), built((9, 11))
    source.layers[1].steps.assign(3.0)
    store = {}
    save(source.layers[1], store)
    target.layers[1].load_own_variables(store)
    np.testing.assert_allclose(pixels(target), pixels(source), **tolerances.EDGES["float32"])
    assert float(target.layers[1].steps.numpy()) == 3 and target.layers[1].scale == (40, 60)


@pytest.mark.parametrize("name", LAYERS)
def test_the_error_about_weights_without_scale_says_what_to_do(name):
    layer = model_for((9, 11), name).layers[1]
    before = layer.get_weights()
    scale = next(i for i, weight in enumerate(layer.weights) if weight.name == "scale")
    old = before[:scale] + before[scale + 1 :]
    with pytest.raises(ValueError, match=r"must hold .*scale.*insert the `scale` weight"):
        layer.set_weights(old)
    old.insert(scale, before[scale])
    layer.set_weights(old)
