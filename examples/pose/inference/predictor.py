"""Predictors find joints in images of any size, in pixels of the given image.

A model takes square images of one size and returns heatmaps. A predictor letterboxes images before
the model and decodes its heatmaps. Both use TensorFlow operations only, so that the same code runs
in `predict` and in an exported SavedModel.
"""

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

# Registers the box layers with Keras and their operators with TensorFlow, before a model is loaded.
import tf_boxconv.layers  # noqa: F401
from examples.pose.datasets.skeletons import Skeleton
from examples.pose.images import encoded_images, geometry
from examples.pose.inference import DECODING, FLIP_TEST, model_files
from examples.pose.inference.signatures import IMAGES_SIGNATURE, SETTINGS_ASSET, SKELETON_ASSET
from examples.pose.models import heatmaps
from examples.pose.training.run_folder import RunFolderError
from tf_boxconv.exporting import portable

# How many files of a batch are decoded at a time, as many as `tf.map_fn` runs at a time.
PARALLEL_DECODERS = 10


class PosePredictor:
    """A pose model that takes images of any size and returns joints in their pixels.

    Args:
        model: Keras model from float32 `[batch, image_size, image_size, 3]`, values 0..255, to
            heatmap logits `[batch, height, width, joints]`.
        image_size: Side of the square images that the model takes, in pixels.
        skeleton: Names and limbs of the joints.
        flip_test: Whether to average the heatmaps of each image and of its mirror image: a little
            more accurate, at twice the cost.
        portable: Whether to use TensorFlow's own operations only, so that traced functions run
            without the operator library.
        decoding: How joints are read from the heatmaps, see `heatmaps.decode`.
    """

    def __init__(
        self,
        model,
        image_size: int,
        skeleton: Skeleton,
        flip_test: bool = FLIP_TEST,
        portable: bool = False,
        decoding: str = DECODING,
    ):
        self.model = model
        self.image_size = image_size
        self.skeleton = skeleton
        self.flip_test = flip_test
        self.portable = portable
        self.decoding = decoding

    def with_portable(self, portable: bool) -> "PosePredictor":
        """Returns the same predictor with another value of `portable`."""
        return PosePredictor(
            self.model, self.image_size, self.skeleton, self.flip_test, portable, self.decoding
        )

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that an exported model records in its assets."""
        return {"flip_test": self.flip_test, "decoding": self.decoding}

    @functools.cached_property
    def predict_images(self):
        """`tf.function` from a batch of pictures of one size to their joints and scores.

        Input: `images`, uint8 `[batch, height, width, 3]` RGB. The batch may be empty. A height or
        width of 0 is an `InvalidArgumentError`.

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
            return self._predict(*self._letterbox_each(self._letterbox, images))

        return predict_images

    @functools.cached_property
    def predict_encoded(self):
        """`tf.function` from picture files, of any sizes, to their joints and scores.

        Input: `image_bytes`, string `[batch]`: JPEG, PNG, WebP or 24-bit BMP files, decoded by
        `encoded_images.decode`. A damaged or unsupported file is an `InvalidArgumentError`.

        Output: as of `predict_images`. Joints are in pixels of their picture after the EXIF
        orientation is applied.
        """

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
        def predict_encoded(image_bytes):
            return self._predict(*self._letterbox_each(self._letterbox_file, image_bytes))

        return predict_encoded

    @functools.cached_property
    def predict_batched(self):
        """`tf.function` from picture files of several clients to their joints and scores.

        A damaged or unsupported file is not an error, so it does not fail the files of other
        clients in the batch.

        Input: as of `predict_encoded`.

        Output: as of `predict_encoded`, and `decoded`, bool `[batch]`: False if the file is damaged
        or unsupported. Its joints and scores are then 0.
        """

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
        def predict_batched(image_bytes):
            squares, affines, decoded = self._letterbox_decodable(image_bytes)
            results = self._predict(squares, affines)
            return {
                "joints": tf.where(decoded[:, None, None], results["joints"], 0),
                "scores": tf.where(decoded[:, None], results["scores"], 0),
                "decoded": decoded,
            }

        return predict_batched

    def predict(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns joints `[joints, 2]` and scores `[joints]`, float32, of one uint8 RGB image."""
        outputs = self.predict_images(image[np.newaxis])
        return outputs["joints"][0].numpy(), outputs["scores"][0].numpy()

    def _letterbox(self, image):
        return geometry.letterbox(image, self.image_size)

    def _letterbox_file(self, encoded):
        return self._letterbox(encoded_images.decode(encoded))

    def _letterbox_each(self, to_square, pictures):
        """Letterboxes pictures; returns squares and their affines, the arguments of `_predict`.

        Args:
            to_square: Maps one of `pictures` to a square and its affine, as `letterbox` returns.
            pictures: A batch of images or of encoded files.
        """
        side = self.image_size
        specs = (tf.TensorSpec([side, side, 3], tf.float32), tf.TensorSpec([2, 3], tf.float32))
        return tf.map_fn(to_square, pictures, fn_output_signature=specs)

    def _letterbox_decodable(self, files):
        """Letterboxes files; returns squares, affines, and whether each file could be decoded.

        A file that could not gets a black square and the identity.
        """
        count, side = tf.size(files), self.image_size
        # Only `tf.data` goes on after an operation has failed. Pairs are (index, file).
        pairs = tf.data.Dataset.from_tensor_slices((tf.range(count), files))
        squares = pairs.map(
            lambda index, file: (index, *self._letterbox_file(file)),
            num_parallel_calls=PARALLEL_DECODERS,
        ).ignore_errors()
        # One element more, so that there is a batch even if no file could be decoded.
        black, identity = tf.zeros([side, side, 3]), tf.eye(2, 3)
        squares = squares.concatenate(tf.data.Dataset.from_tensors((count, black, identity)))
        indices, squares, affines = squares.batch(tf.cast(count, tf.int64) + 1).get_single_element()

        def scatter(values, default):
            everywhere = tf.repeat(default[tf.newaxis], count + 1, axis=0)
            return tf.tensor_scatter_nd_update(everywhere, indices[:, tf.newaxis], values)[:count]

        decoded = scatter(tf.ones_like(indices, tf.bool), tf.constant(False))
        return scatter(squares, black), scatter(affines, identity), decoded

    def _predict(self, squares, affines):
        """`find_joints` for a batch that may be empty."""
        # oneDNN convolutions, the default on CPUs with AVX-512, return the wrong shape for an empty
        # batch (TensorFlow 2.21). The model gets one black square instead, and its result is
        # dropped.
        count = tf.shape(squares)[0]
        missing = tf.maximum(1 - count, 0)
        squares = tf.pad(squares, [[0, missing], [0, 0], [0, 0], [0, 0]])
        affines = tf.concat([affines, tf.eye(2, 3, [missing])], axis=0)
        return {name: value[:count] for name, value in self.find_joints(squares, affines).items()}

    def find_joints(self, squares, affines) -> dict[str, tf.Tensor]:
        """Runs the model on squares and decodes joints in pixels of the pictures.

        Args:
            squares: float32 `[batch, side, side, 3]`; the batch is not empty.
            affines: float32 `[batch, 2, 3]`, or `[1, 2, 3]` for all squares, from pixels of the
                pictures to pixels of the squares.

        Returns:
            As of `predict_images`.
        """
        flip_order = self.skeleton.flip_order if self.flip_test else None
        model = functools.partial(portable.call, self.model) if self.portable else self.model
        predict = functools.partial(model, training=False)
        logits = heatmaps.predict_heatmaps(predict, squares, flip_order)
        joints, scores = heatmaps.decode(logits, self.decoding)
        to_picture = geometry.invert_affine(affines)
        return {"joints": geometry.transform_points(to_picture, joints), "scores": scores}


class SavedModelPredictor:
    """An exported SavedModel with the interface of `PosePredictor`.

    Args:
        path: Folder that `examples.pose.export` wrote.
    """

    def __init__(self, path):
        assets = Path(path) / "assets"
        if not (assets / SKELETON_ASSET).is_file():
            raise RunFolderError(f"{path} is a SavedModel, but not one that `export` wrote.")
        with model_files.loading(path):
            skeleton = json.loads((assets / SKELETON_ASSET).read_text())
            self.skeleton = Skeleton.from_metadata(skeleton)
            self.settings = self._read_settings(assets / SETTINGS_ASSET)
            self._loaded = tf.saved_model.load(str(path))
            self._signature = self._loaded.signatures[IMAGES_SIGNATURE]

    def predict(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns joints `[joints, 2]` and scores `[joints]`, float32, of one uint8 RGB image."""
        outputs = self._signature(images=tf.constant(image[np.newaxis]))
        return outputs["joints"][0].numpy(), outputs["scores"][0].numpy()

    @staticmethod
    def _read_settings(path: Path) -> dict[str, Any]:
        """`PosePredictor.settings` of the exported model; empty in exports of earlier versions."""
        if not path.is_file():
            return {}
        settings = json.loads(path.read_text())
        valid = isinstance(settings, dict) and settings.keys() == {"flip_test", "decoding"}
        if not valid or not isinstance(settings["flip_test"], bool):
            raise ValueError(f"{path} was not written by `examples.pose.export`")
        return settings


Predictor = PosePredictor | SavedModelPredictor


def load_predictor(path, decoding: str | None = None, flip_test: bool | None = None) -> Predictor:
    """Loads the model of a run folder, or a SavedModel exported from one.

    Args:
        path: The run folder or SavedModel, see `model_files.find_model`.
        decoding: See `PosePredictor`; None means the default. A SavedModel has its own, and takes
            no other.
        flip_test: Likewise.

    Raises:
        RunFolderError: `path` is neither, or nothing has been trained in the run folder yet; or
            `decoding` or `flip_test` differs from what a SavedModel was exported with.
    """
    path = model_files.find_model(path)
    if not model_files.is_saved_model(path):
        flip_test = FLIP_TEST if flip_test is None else flip_test
        return load_run(path, flip_test=flip_test, decoding=decoding or DECODING)
    predictor = SavedModelPredictor(path)
    for name, value in (("decoding", decoding), ("flip_test", flip_test)):
        if value is not None and predictor.settings.get(name) != value:
            raise RunFolderError(
                f"{path} is a SavedModel, exported with its own `{name}` "
                f"({predictor.settings.get(name, 'unknown')}): leave it out, or export again. "
                f"Got {value!r}."
            )
    return predictor


def load_run(path, flip_test: bool = FLIP_TEST, decoding: str = DECODING) -> PosePredictor:
    """Loads the model of a run folder.

    Args:
        path: The run folder, or the `model.keras` in it.
        flip_test: See `PosePredictor`.
        decoding: See `PosePredictor`.

    Raises:
        RunFolderError: `path` is not a run folder, no epoch has been trained in it yet, or the
            Keras backend is not TensorFlow, which predictors and exports need.
    """
    model_files.require_tensorflow_backend()
    run = model_files.find_run(path)
    with model_files.loading(run.path):
        config = run.config
        skeleton = Skeleton.from_metadata(config["skeleton"])
        image_size = config["image_size"]
        model = run.load_model()
    return PosePredictor(model, image_size, skeleton, flip_test, decoding=decoding)
