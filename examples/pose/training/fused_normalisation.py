"""Batch normalisation by one TensorFlow kernel, which makes training faster.

Keras computes batch normalisation by a dozen elementwise operations. Their gradients are dozens
more, and each reads and writes whole planes.
"""

import keras
import tensorflow as tf
from keras import layers, ops


class FusedBatchNormalization(layers.BatchNormalization):
    """`BatchNormalization` of images, `[N, H, W, C]`: in training, one kernel in each direction.

    The kernel averages over one device. A `synchronized` layer, which averages over several,
    computes as Keras does.
    """

    def call(self, inputs, training=None, mask=None):
        """Normalises a batch, in float32 under every dtype policy, as Keras does."""
        if not (training and self.trainable) or self.synchronized:
            return super().call(inputs, training=training, mask=mask)
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            ops.cast(inputs, "float32"),
            ops.convert_to_tensor(self.gamma),
            ops.convert_to_tensor(self.beta),
            epsilon=self.epsilon,
        )
        # The kernel returns the unbiased variance of `count` values. Keras averages the biased one.
        count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), tf.float32)
        variance *= (count - 1) / count
        for average, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(average * self.momentum + new * (1 - self.momentum))
        return ops.cast(outputs, self.compute_dtype)


def with_fused_normalisation(model: keras.Model) -> keras.Model:
    """Returns a copy of a network that trains faster on TensorFlow.

    Names and values of the weights are those of `model`. On other backends it returns `model`
    itself; XLA fuses the operations there.
    """
    if keras.backend.backend() != "tensorflow":
        return model
    fused = keras.models.clone_model(model, clone_function=_copy)
    fused.set_weights(model.get_weights())
    return fused


def _copy(layer: keras.Layer) -> keras.Layer:
    is_plain = type(layer) is layers.BatchNormalization
    layer_class = FusedBatchNormalization if is_plain else type(layer)
    return layer_class.from_config(layer.get_config())
