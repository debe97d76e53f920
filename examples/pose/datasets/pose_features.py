"""The features of an example, the same for every pose data set, and the crop around a person."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from examples.pose.datasets.skeletons import LSP_SKELETON, Skeleton

# Shapes and dtypes of optional features of a person. All positions and lengths are in pixels of
# `image`, like `joints`; 0 means unknown.
_PERSON_FEATURES: dict[str, tuple[tuple[int, ...], type]] = {
    # (x, y) of the crop `image` in the original photograph, which may show several people.
    # `joints + origin` are positions in the photograph.
    "origin": ((2,), np.float32),
    "box": ((4,), np.float32),  # Around the person: (x_min, y_min, x_max, y_max).
    "head_box": ((4,), np.float32),  # Around the head, in the same form.
    "centre": ((2,), np.float32),  # A point near the middle of the person.
    "scale": ((), np.float32),  # The person's height in units of 200 pixels.
    "area": ((), np.float64),  # Area of the person in square pixels.
    "is_crowd": ((), np.bool_),  # Whether the label stands for a group.
    "is_single": ((), np.bool_),  # Whether the person is sufficiently separated from others.
    "image_id": ((), np.int64),  # The photograph's number in the data set.
    "person_id": ((), np.int64),  # The person's number in the data set, or in the photograph.
}


def pose_features(
    skeleton: Skeleton = LSP_SKELETON, person: Sequence[str] = ()
) -> tfds.features.FeaturesDict:
    """Features of one example: one photograph of one person.

    * `image`: uint8 `[height, width, 3]`, stored as JPEG; every image has its own size.
    * `joints`: float32 `[num_joints, 2]`, `(x, y)` in pixels. `(0, 0)` is the centre of the top
      left pixel. Zero if the joint is not labelled.
    * `visibility`: uint8 `[num_joints]`: 0 not labelled (to be masked), 1 labelled but occluded,
      2 labelled and visible, as in COCO.
    * `id`: the name of the image in its data set, without extension.
    * `person`: some of `_PERSON_FEATURES` above, in data sets that have such features.

    Args:
        skeleton: The joints.
        person: Names of the person features that the data set has.
    """
    features = {
        "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
        "joints": tfds.features.Tensor(shape=(skeleton.num_joints, 2), dtype=np.float32),
        "visibility": tfds.features.Tensor(shape=(skeleton.num_joints,), dtype=np.uint8),
        "id": tfds.features.Text(),
    }
    if person:
        features["person"] = {name: _person_feature(name) for name in person}
    return tfds.features.FeaturesDict(features)


@tfds.decode.make_decoder()
def decode_jpeg(encoded: tf.Tensor, feature: tfds.features.Image) -> tf.Tensor:
    """Decodes images of the records to the same pixels as `image_files.decode_image`.

    The default decoder of `tfds` uses a faster, less accurate transform, with differences of up to
    10 of 255.
    """
    return tf.ensure_shape(
        tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE"), feature.shape
    )


def _person_feature(name: str) -> tfds.features.Tensor:
    shape, dtype = _PERSON_FEATURES[name]
    return tfds.features.Tensor(shape=shape, dtype=dtype)


def overlaps(image: np.ndarray, box: Sequence[float]) -> bool:
    """Whether an image `[height, width, 3]` overlaps a box `(x_min, y_min, x_max, y_max)`."""
    height, width = image.shape[:2]
    return box[0] < width and box[1] < height and box[2] > 0 and box[3] > 0


def pose_metadata(skeleton: Skeleton = LSP_SKELETON) -> tfds.core.MetadataDict:
    """The skeleton as `tfds` metadata; `Skeleton.from_metadata(builder.info.metadata)` reads it."""
    return tfds.core.MetadataDict(skeleton.to_metadata())
