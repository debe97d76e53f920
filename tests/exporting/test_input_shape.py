"""`input_shape` of `tf_boxconv.export`, by kind of model."""

import keras
import numpy as np
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
