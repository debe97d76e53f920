"""`input_shape` of `tf_boxconv.export`, by kind of model."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_boxconv


def test_a_sequential_model(tmp_path):
    model = keras.Sequential(
        [keras.Input((None, None, 3)), tf_boxconv.layers.BoxConv2D(2, max_size=(8, 8))]
    )
    tf_boxconv.export(model, tmp_path / "fixed", input_shape=(None, 6, 7, 3))
    served = tf.saved_model.load(str(tmp_path / "fixed")).signatures["serving_default"]
    (spec,) = served.structured_input_signature[1].values()
    assert tuple(spec.shape) == (None, 6, 7, 3)
    images = np.ones((2, 6, 7, 3), "float32")
    (outputs,) = served(**{spec.name: tf.constant(images)}).values()
    np.testing.assert_allclose(outputs, model(images), atol=1e-6)


def test_a_subclassed_model_needs_the_batch_axis(tmp_path):
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.boxes = tf_boxconv.layers.BoxConv2D(2, max_size=(8, 8))

        def call(self, inputs):
            return self.boxes(inputs)

    model = Subclassed()
    model(np.ones((1, 8, 8, 3)))
    with pytest.raises(ValueError, match=r"needs the batch axis: \(None, 6, 7, 3\)"):
        tf_boxconv.export(model, tmp_path / "fixed", input_shape=(6, 7, 3))
    assert not list(tmp_path.iterdir())
    tf_boxconv.export(model, tmp_path / "fixed", input_shape=(None, 6, 7, 3))
