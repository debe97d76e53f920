"""Reads a whole data set into memory, every photograph letterboxed to the same square size."""

import dataclasses
import hashlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from examples.pose.cli import progress
from examples.pose.images.geometry import letterbox, transform_points


@dataclasses.dataclass(frozen=True)
class Photographs:
    """A pose data set in memory, every photograph letterboxed to a square of the same size.

    Attributes:
        images: uint8 `[n, size, size, 3]`.
        joints: float32 `[n, J, 2]`, (x, y) in pixels of `images`; arbitrary if not labelled.
        labelled: bool `[n, J]`.
        affines: float32 `[n, 2, 3]`, from pixels of the original photographs to pixels of `images`.
        visibility: uint8 `[n, J]`, see `pose_features`; None if only `labelled` is known.
        person: Other features of each person, arrays `[n, ...]` by name, in pixels of the original
            photographs; see `pose_features`.
        digest: Hash of the labels and of the row and column sums of the pixels, in the order of the
            data set, to detect changes; empty if the photographs are only a part of a data set.
    """

    images: np.ndarray
    joints: np.ndarray
    labelled: np.ndarray
    affines: np.ndarray
    visibility: np.ndarray | None = None
    person: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    digest: str = ""

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return self.images.shape[1]

    @property
    def targets(self) -> np.ndarray:
        """Targets of loss and metric, float32 `[n, J, 3]`: x, y, and 1 if labelled, else 0."""
        return np.concatenate([self.joints, self.labelled[..., None]], axis=-1, dtype=np.float32)

    @property
    def boxes(self) -> np.ndarray | None:
        """The people's boxes in pixels of `images`, float32 `[n, 4]`; None if they are unknown."""
        if "box" not in self.person:
            return None
        corners = self.person["box"].reshape(-1, 2, 2)
        return np.reshape(transform_points(self.affines, corners), (-1, 4))

    @property
    def fields(self) -> tuple[np.ndarray, ...]:
        """The arrays that training needs, in the order of the attributes."""
        return self.images, self.joints, self.labelled, self.affines

    def __getitem__(self, key: slice | np.ndarray) -> "Photographs":
        return Photographs(
            *(field[key] for field in self.fields),
            visibility=None if self.visibility is None else self.visibility[key],
            person={name: values[key] for name, values in self.person.items()},
        )


def read_photographs(dataset: tf.data.Dataset, size: int, description: str) -> Photographs:
    """Reads a whole data set into memory, showing progress.

    Args:
        dataset: Examples with the features of `pose_features`.
        size: The side to letterbox the photographs to, in pixels.
        description: Title of the progress bar.

    Raises:
        ValueError: The data set is empty.
    """

    def convert(example):
        image, affine = letterbox(example["image"], size)
        image = tf.cast(tf.round(tf.clip_by_value(image, 0, 255)), tf.uint8)
        joints = transform_points(affine, tf.cast(example["joints"], tf.float32))
        visibility = example["visibility"]
        arrays = image, joints, visibility > 0, affine
        # The digest covers the original image, because resampling may differ between CPUs.
        original = tf.cast(example["image"], tf.int32)
        rows_and_columns = [tf.reduce_sum(original, axis=axes) for axes in ((1, 2), (0, 2))]
        content = *rows_and_columns, example["joints"], visibility
        return arrays, visibility, example.get("person", {}), content

    squares = dataset.map(convert, num_parallel_calls=tf.data.AUTOTUNE).prefetch(64)
    count = int(dataset.cardinality())
    examples = progress.track(
        squares.as_numpy_iterator(), description, total=count if count > 0 else None
    )
    rows = []
    digest = hashlib.sha256()

    def take_images():
        for (image, *arrays), visibility, person, content in examples:
            rows.append((arrays, visibility, person))
            for value in content:
                digest.update(value.tobytes())
            yield image

    # Reads into one growing array. Stacking a list of images would need twice the memory.
    images = np.fromiter(take_images(), np.dtype((np.uint8, (size, size, 3))))
    if not rows:
        raise ValueError(f"The data set to read is empty ({description}).")
    arrays, visibility, person = zip(*rows, strict=True)
    return Photographs(
        images,
        *(np.stack(field) for field in zip(*arrays, strict=True)),
        visibility=np.stack(visibility),
        person={name: np.stack([p[name] for p in person]) for name in person[0]},
        digest=digest.hexdigest(),
    )
