"""Networks as compiled functions, on the backend that Keras runs on."""

from collections.abc import Callable

import keras


def compiled(model: keras.Model) -> Callable:
    """A network as a function that its backend compiles, for prediction.

    It sees the weights as they are when it is called.

    Returns:
        A function from images, of NumPy or TensorFlow, to heatmap logits, a tensor that NumPy and
        TensorFlow convert.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(lambda images: model(images, training=False), reduce_retracing=True)
    if backend == "jax":
        return _compiled_by_jax(model)
    return lambda images: keras.ops.convert_to_numpy(model(images, training=False))


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
