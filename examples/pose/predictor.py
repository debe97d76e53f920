"""From pictures of any size to joints in their own pixels: what `predict` runs and `export` writes.

A model sees square pictures of one size and answers in heatmaps. A predictor wraps it in the two
steps around it, the letterbox that training uses as well and the decoding of the heatmaps, in
TensorFlow operations only, so that the same code runs here and in an exported SavedModel.
"""

import contextlib
import functools
import json
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

# Makes the box layers known to Keras, and their operators to TensorFlow, before a model is loaded.
import tf_boxconv.layers  # noqa: F401
from examples.pose import heatmaps, input_pipeline
from examples.pose.datasets.pose_features import Skeleton
from examples.pose.run_folder import RunFolder, RunFolderError
from examples.pose.signatures import IMAGES_SIGNATURE, SKELETON_ASSET
from tf_boxconv.ops.stock_ops_scope import stock_ops_scope

# A file of a few bytes can claim to be a picture that fills the server's memory.
MAX_PIXELS = 2**26


class PosePredictor:
    """A pose model that takes pictures of any size and answers in their pixels.

    Args:
        model: Keras model from float32 `[batch, image_size, image_size, 3]`, values 0..255, to
            heatmap logits `[batch, height, width, joints]`.
        image_size: side of the square pictures the model takes, in pixels.
        skeleton: names and limbs of the joints.
        flip_test: averages the heatmaps of each picture and of its mirror image, as `evaluate`
            does: a little more accurate, at twice the cost.
        portable: answers by stock TensorFlow operations only, so that what is traced runs without
            the operator library.
        decoding: how joints are read from the heatmaps, see `heatmaps.decode`.
    """

    def __init__(
        self,
        model,
        image_size: int,
        skeleton: Skeleton,
        flip_test: bool = False,
        portable: bool = False,
        decoding: str = "quarter",
    ):
        self.model = model
        self.image_size = image_size
        self.skeleton = skeleton
        self.flip_test = flip_test
        self.portable = portable
        self.decoding = decoding

    def with_portable(self, portable: bool) -> "PosePredictor":
        """The same predictor by the other kind of operations, or by these."""
        return PosePredictor(
            self.model, self.image_size, self.skeleton, self.flip_test, portable, self.decoding
        )

    @functools.cached_property
    def predict_images(self):
        """`tf.function` from a batch of pictures of one size to their joints and scores.

        Input: `images`, uint8 `[batch, height, width, 3]` RGB. The batch may be empty, the pictures
        may not: that is an `InvalidArgumentError`.

        Output: dict of `joints`, float32 `[batch, joints, 2]`, (x, y) in pixels of the given
        pictures, where (0, 0) is the centre of the top-left pixel; and `scores`, float32
        `[batch, joints]`.
        """

        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, "images")])
        def predict_images(images):
            shape = tf.shape(images)
            not_empty = tf.debugging.Assert(
                tf.reduce_all(shape[1:3] > 0),
                ["`images` must have a height and a width of at least 1, got shape", shape],
            )
            with tf.control_dependencies([not_empty]):
                images = tf.identity(images)
            return self._predict(self._letterbox, images)

        return predict_images

    @functools.cached_property
    def predict_encoded(self):
        """`tf.function` from encoded pictures, each of its own size, to their joints and scores.

        Input: `image_bytes`, string `[batch]`: JPEG, PNG, GIF (first frame) or BMP files. The
        camera's orientation tag is ignored. A damaged file is an `InvalidArgumentError`, and so is
        a picture of more than `MAX_PIXELS`.

        Output: as of `predict_images`, each picture's joints in its own pixels.
        """

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
        def predict_encoded(image_bytes):
            return self._predict(lambda encoded: self._letterbox(_decode(encoded)), image_bytes)

        return predict_encoded

    def predict(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Joints float32 `[joints, 2]` and scores `[joints]` of one picture (uint8, RGB)."""
        answer = self.predict_images(image[np.newaxis])
        return answer["joints"][0].numpy(), answer["scores"][0].numpy()

    def _letterbox(self, image):
        return input_pipeline.letterbox(image, self.image_size)

    def _predict(self, to_square, pictures):
        """Runs the model on the squares that `to_square` makes of each of a batch of pictures."""
        side = self.image_size
        square_specs = (
            tf.TensorSpec([side, side, 3], tf.float32),
            tf.TensorSpec([2, 3], tf.float32),
        )
        squares, affines = tf.map_fn(to_square, pictures, fn_output_signature=square_specs)
        # TensorFlow's convolutions by oneDNN, its default on processors with AVX-512, give an empty
        # batch the shape of their input (2.21): a black square stands in.
        count = tf.shape(squares)[0]
        squares = tf.pad(squares, [[0, tf.maximum(1 - count, 0)], [0, 0], [0, 0], [0, 0]])
        flip_order = self.skeleton.flip_order if self.flip_test else None
        with stock_ops_scope() if self.portable else contextlib.nullcontext():
            predict = functools.partial(self.model, training=False)
            logits = heatmaps.predict_heatmaps(predict, squares, flip_order)[:count]
        joints, scores = heatmaps.decode(logits, self.decoding)
        to_picture = input_pipeline.invert_affine(affines)
        return {"joints": input_pipeline.transform_points(to_picture, joints), "scores": scores}


class SavedModelPredictor:
    """An exported SavedModel, used like a `PosePredictor`.

    Args:
        path: folder that `examples.pose.export` wrote.
    """

    def __init__(self, path):
        skeleton = Path(path) / "assets" / SKELETON_ASSET
        if not skeleton.is_file():
            raise RunFolderError(f"{path} is a SavedModel, but not one that `export` wrote.")
        self.skeleton = Skeleton.from_metadata(json.loads(skeleton.read_text()))
        self._loaded = tf.saved_model.load(str(path))

    def predict(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Joints float32 `[joints, 2]` and scores `[joints]` of one picture (uint8, RGB)."""
        signature = self._loaded.signatures[IMAGES_SIGNATURE]
        answer = signature(images=tf.constant(image[np.newaxis]))
        return answer["joints"][0].numpy(), answer["scores"][0].numpy()


def load_predictor(path, decoding: str | None = None) -> PosePredictor | SavedModelPredictor:
    """Loads the model of a run folder, with flip test, or a SavedModel exported from one.

    Args:
        path: the run folder or SavedModel.
        decoding: see `PosePredictor`. A SavedModel has its own, and takes no other.

    Raises:
        RunFolderError: `path` is neither, or nothing has been trained in the run folder yet; or
            `decoding` is given for a SavedModel.
    """
    path = Path(path)
    if (path / "saved_model.pb").is_file():
        if decoding is not None:
            raise RunFolderError(
                f"{path} is a SavedModel, which reads joints in its own way: `decoding` must be "
                f"left out, got {decoding!r}."
            )
        return SavedModelPredictor(path)
    return load_run(path, flip_test=True, decoding=decoding or "quarter")


def load_run(path, flip_test: bool = False, decoding: str = "quarter") -> PosePredictor:
    """Loads the model of a run folder.

    Args:
        path: the run folder.
        flip_test: see `PosePredictor`.
        decoding: see `PosePredictor`.

    Raises:
        RunFolderError: `path` is not a run folder, nothing has been trained in it yet, or Keras
            does not run on TensorFlow, which reads the pictures and is what is exported.
    """
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise RunFolderError(
            f"Set KERAS_BACKEND=tensorflow to predict or export, got {backend!r}: runs of every "
            "backend load there."
        )
    run = RunFolder(path)
    config = run.config
    skeleton = Skeleton.from_metadata(config["skeleton"])
    return PosePredictor(
        run.load_model(), config["image_size"], skeleton, flip_test, decoding=decoding
    )


def _decode(encoded):
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    shape = tf.shape(image)
    not_too_large = tf.debugging.Assert(
        tf.size(image, tf.int64) <= 3 * MAX_PIXELS,
        [f"Pictures may have at most {MAX_PIXELS} pixels, got one of shape", shape],
    )
    with tf.control_dependencies([not_too_large]):
        return tf.ensure_shape(tf.identity(image), [None, None, 3])
