"""A run folder with a small box network of random weights, quick to make and to run."""

import keras

from examples.pose.datasets.skeletons import LSP_SKELETON
from examples.pose.training.run_folder import RunFolder
from tests.seeds import seed_weights
from tf_boxconv import layers

IMAGE_SIZE = 32


def tiny_model(num_joints: int = 14) -> keras.Model:
    seed_weights(1)
    inputs = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    x = keras.layers.BatchNormalization()(x)
    x = layers.DepthwiseBoxConv2D(2)(x)
    x = keras.layers.Dropout(0.5)(x)
    return keras.Model(
        inputs, keras.layers.Conv2D(num_joints, 1, kernel_initializer="he_normal")(x)
    )


def write_tiny_run(path, skeleton=LSP_SKELETON, **config):
    """Writes a run folder at `path` and returns `path`. `config` adds entries to config.json."""
    run = RunFolder(path)
    run.begin({"image_size": IMAGE_SIZE, "skeleton": skeleton.to_metadata(), **config})
    run.save_model(tiny_model(skeleton.num_joints))
    return path
