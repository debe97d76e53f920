"""Compiled prediction functions for each Keras backend."""

from collections.abc import Callable

import keras


def compiled(model: keras.Model) -> Callable:
    """Returns the prediction function of a network, compiled if TensorFlow or JAX is the backend.

    Each call uses the weights that the network has at that time.

    Returns:
        A function from images, a NumPy array or TensorFlow tensor, to heatmap logits: a TensorFlow
        tensor on TensorFlow, else a NumPy array.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(lambda images: model(images, training=False), reduce_retracing=True)
    if backend == "jax":
        return _compiled_by_jax(model)
    return _without_gradients(model)


def _compiled_by_jax(model: keras.Model) -> Callable:
    import jax
    import numpy as np

    @jax.jit
    def run(trained, others, images):
        outputs, _ = model.stateless_call(trained, others, images, training=False)
        return outputs

    def predict(images):
        groups = model.trainable_variables, model.non_trainable_variables
        values = [[variable.value for variable in group] for group in groups]
        return np.asarray(run(*values, np.asarray(images)))

    return predict


def _without_gradients(model: keras.Model) -> Callable:
    import numpy as np
    import torch

    def predict(images):
        with torch.no_grad():
            return keras.ops.convert_to_numpy(model(np.asarray(images), training=False))

    return predict
