"""A Keras model from pictures of any size to joints, which `tf_boxconv.export` converts.

It computes what `PosePredictor.predict_images` computes, in operations that ONNX, LiteRT, OpenVINO
and TensorFlow.js have.
"""

import keras
import tensorflow as tf

from examples.pose.images import geometry
from examples.pose.inference.predictor import PosePredictor


class JointFinder(keras.layers.Layer):
    """Finds the joints in a batch of pictures of one size.

    Call arguments:
        images: uint8 `[batch, height, width, 3]`, RGB.

    Returns:
        As of `PosePredictor.predict_images`.
    """

    def __init__(self, predictor: PosePredictor):
        super().__init__(name="joint_finder")
        self.predictor = predictor
        self.network = predictor.model  # Keras finds its weights and box layers here.
        self.built = True

    def call(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Letterboxes, runs the network, and decodes its heatmaps."""
        squares, affine = geometry.letterbox_by_matrices(images, self.predictor.image_size)
        return self.predictor.find_joints(squares, affine)


def picture_model(predictor: PosePredictor) -> keras.Model:
    """Builds the model; its input is `images`, its outputs are `joints` and `scores`."""
    images = keras.Input((None, None, 3), dtype="uint8", name="images")
    return keras.Model(images, JointFinder(predictor)(images), name="pose")
