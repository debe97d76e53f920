"""The one feature specification, and the skeleton, that every pose data set here shares."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

NOT_LABELLED = 0
OCCLUDED = 1
VISIBLE = 2


@dataclasses.dataclass(frozen=True)
class Skeleton:
    """What the numbers of a pose stand for. Left and right are the person's own.

    Attributes:
        joint_names: Name of each joint; a joint's position here is its index everywhere.
        flip_pairs: Pairs of joint indices that change places when an image is mirrored.
        limbs: Pairs of joint indices that are connected when a pose is drawn.
        pck_reference: Two joint indices. The distance between them is the length that errors are
            divided by in PCK (percentage of correct keypoints).
    """

    joint_names: tuple[str, ...]
    flip_pairs: tuple[tuple[int, int], ...]
    limbs: tuple[tuple[int, int], ...]
    pck_reference: tuple[int, int]

    @property
    def num_joints(self) -> int:
        """Number of joints."""
        return len(self.joint_names)

    @property
    def flip_order(self) -> tuple[int, ...]:
        """Joint order of a mirrored image: `joints[flip_order]` are its joints in our order."""
        order = list(range(self.num_joints))
        for left, right in self.flip_pairs:
            order[left], order[right] = right, left
        return tuple(order)

    def to_metadata(self) -> dict[str, Any]:
        """Returns plain lists and strings, ready for JSON."""
        return {
            "joint_names": list(self.joint_names),
            "flip_pairs": [list(pair) for pair in self.flip_pairs],
            "limbs": [list(pair) for pair in self.limbs],
            "pck_reference": list(self.pck_reference),
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> Skeleton:
        """Rebuilds a skeleton from `to_metadata()`, or from a builder's `info.metadata`."""
        return cls(
            joint_names=tuple(metadata["joint_names"]),
            flip_pairs=tuple((int(i), int(j)) for i, j in metadata["flip_pairs"]),
            limbs=tuple((int(i), int(j)) for i, j in metadata["limbs"]),
            pck_reference=tuple(int(i) for i in metadata["pck_reference"]),
        )


LSP_SKELETON = Skeleton(
    joint_names=(
        "right_ankle",
        "right_knee",
        "right_hip",
        "left_hip",
        "left_knee",
        "left_ankle",
        "right_wrist",
        "right_elbow",
        "right_shoulder",
        "left_shoulder",
        "left_elbow",
        "left_wrist",
        "neck",
        "head_top",
    ),
    flip_pairs=((0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9)),
    limbs=(
        (0, 1),
        (1, 2),
        (2, 3),
        (3, 4),
        (4, 5),
        (6, 7),
        (7, 8),
        (8, 12),
        (12, 9),
        (9, 10),
        (10, 11),
        (2, 8),
        (3, 9),
        (12, 13),
    ),
    pck_reference=(9, 2),
)


# What a data set may say of the person beyond the joints: name, shape, type. All places and lengths
# are in pixels of `image`, like `joints`; 0 stands for what is not known.
_PERSON_FEATURES: dict[str, tuple[tuple[int, ...], type]] = {
    # Where the top left pixel of `image` is in the original photograph: `image` is then a part of
    # it around one of several people, and `joints + origin` are places in the photograph.
    "origin": ((2,), np.float32),
    "box": ((4,), np.float32),  # Around the person: (x_min, y_min, x_max, y_max).
    "head_box": ((4,), np.float32),  # Around the head, likewise.
    "centre": ((2,), np.float32),  # Roughly the person's middle.
    "scale": ((), np.float32),  # The person's height in units of 200 pixels.
    "area": ((), np.float64),  # Square pixels that the person covers.
    "is_crowd": ((), np.bool_),  # Whether the label stands for a group.
    "is_single": ((), np.bool_),  # Whether the person is well apart from others.
    "image_id": ((), np.int64),  # The photograph's number in the data set.
    "person_id": ((), np.int64),  # The person's number in the data set, or in the photograph.
}


def pose_features(
    skeleton: Skeleton = LSP_SKELETON, person: Sequence[str] = ()
) -> tfds.features.FeaturesDict:
    """Features of one example: one photograph of one person.

    * `image`: uint8 `[height, width, 3]`, stored as JPEG; every image has its own size.
    * `joints`: float32 `[num_joints, 2]`, `(x, y)` in pixels. `(0, 0)` is the centre of the top
      left pixel. Zero where the joint is not labelled.
    * `visibility`: uint8 `[num_joints]`: 0 not labelled (to be masked), 1 labelled but hidden
      behind something, 2 labelled and visible. COCO counts in the same way.
    * `id`: the name of the image in its data set, without extension.
    * `person`, only in data sets that say more of the person: some of `_PERSON_FEATURES` above.

    Args:
        skeleton: The joints.
        person: Names of the person's features that the data set has.
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
    """Decodes the records' images to the pixels that `images.decode_image` gives.

    The default decoder of `tfds` uses a faster, less accurate transform: pixels differ by up to 10.
    """
    return tf.ensure_shape(
        tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE"), feature.shape
    )


def _person_feature(name: str) -> tfds.features.Tensor:
    shape, dtype = _PERSON_FEATURES[name]
    return tfds.features.Tensor(shape=shape, dtype=dtype)


def overlaps(image: np.ndarray, box: Sequence[float]) -> bool:
    """Whether any of an image `[height, width, 3]` is in a box `(x_min, y_min, x_max, y_max)`."""
    height, width = image.shape[:2]
    return box[0] < width and box[1] < height and box[2] > 0 and box[3] > 0


def crop_person(image: np.ndarray, box: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Cuts the part around a person out of a photograph of several.

    Args:
        image: `[height, width, 3]`.
        box: `(x_min, y_min, x_max, y_max)`, edges in pixels of `image`; parts outside are left out.

    Returns:
        The part, of at least one pixel, and its `origin`, float32 `[2]`: the place (x, y) in
        `image` of its top left pixel.
    """
    height, width = image.shape[:2]
    left, top = (
        int(np.clip(np.floor(box[i]), 0, side - 1)) for i, side in ((0, width), (1, height))
    )
    right, bottom = (int(np.ceil(min(box[i], side))) for i, side in ((2, width), (3, height)))
    part = image[top : max(bottom, top + 1), left : max(right, left + 1)]
    return part, np.array([left, top], np.float32)


def pose_metadata(skeleton: Skeleton = LSP_SKELETON) -> tfds.core.MetadataDict:
    """The skeleton as `tfds` metadata; `Skeleton.from_metadata(builder.info.metadata)` reads it."""
    return tfds.core.MetadataDict(skeleton.to_metadata())
