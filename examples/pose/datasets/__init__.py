"""Pose data sets as `tfds` builders.

Training and evaluation use them by `load`:

>>> dataset, skeleton = load("stick_figures", "train")

This file imports TensorFlow and tfds inside functions only, because `--help` lists the names of the
data sets without importing TensorFlow (see `examples.pose.cli`).
"""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf
    import tensorflow_datasets as tfds

    from examples.pose.datasets.skeletons import Skeleton

# The data sets with a builder in this folder, and for each the split to evaluate on. The joints of
# this split are published. The builder of NAME is `Builder` in NAME/NAME_dataset_builder.py.
EVALUATION_SPLITS = {
    "coco_keypoints": "validation",
    "lsp": "test",
    "lspet": None,
    "mpii": "validation",
    "stick_figures": "test",
}
# The builder of FLIC comes with tfds. These names select its configurations: `flic/small` has 5,003
# frames, `flic/full` 20,928.
FLIC_CONFIGS = {"flic": "flic/small", "flic/small": "flic/small", "flic/full": "flic/full"}
# Pictures and labels of the user's own, see `KeypointFiles`.
KEYPOINTS = "keypoints"
NAMES = tuple(sorted([*EVALUATION_SPLITS, *FLIC_CONFIGS, KEYPOINTS]))


@dataclasses.dataclass(frozen=True)
class KeypointFiles:
    """The files of the data set `keypoints`: pictures, and labels in the format of COCO.

    Attributes:
        images: Folder of the pictures.
        annotations: File of the people to train on. None if they are not needed.
        validation: File of the people to measure on. None: a fifth of the pictures of
            `annotations`.
        flip_pairs: Pairs of joints that are swapped when a picture is mirrored, such as
            `"left_ear:right_ear"`. None: joints whose names differ only in left and right.
    """

    images: str | None = None
    annotations: str | None = None
    validation: str | None = None
    flip_pairs: str | None = None

    def check(self, splits: Collection[str]) -> None:
        """Raises a `ValueError` if an argument is missing, or a file or folder does not exist.

        Args:
            splits: The splits to read: "train", "validation" or both.
        """
        labels = self.annotations or (None if "train" in splits else self.validation)
        if self.images is None or labels is None:
            raise ValueError(
                "--dataset keypoints needs the labels and the pictures: --annotations FILE.json "
                "--images FOLDER."
            )
        for name in ("annotations", "validation"):
            path = getattr(self, name)
            if path is not None and not os.path.isfile(os.path.expanduser(path)):
                raise ValueError(f"--{name} {path}: no such file.")
        if not os.path.isdir(os.path.expanduser(self.images)):
            raise ValueError(f"--images {self.images}: no such folder.")

    def absolute(self) -> KeypointFiles:
        """The same files by their absolute paths."""
        paths = {
            name: path and os.path.abspath(os.path.expanduser(path))
            for name, path in dataclasses.asdict(self).items()
            if name != "flip_pairs"
        }
        return dataclasses.replace(self, **paths)


def builder_class(name: str) -> type[tfds.core.GeneratorBasedBuilder]:
    """Returns the builder of a data set in `EVALUATION_SPLITS`, and registers it with tfds."""
    return importlib.import_module(f"{__name__}.{name}.{name}_dataset_builder").Builder


def parse_names(text: str) -> list[str]:
    """Splits names joined by `+`, such as `lsp+lspet`.

    Raises:
        ValueError: A name is unknown or given twice, or the first has no split to evaluate on.
    """
    names = text.split("+")
    for name in names:
        if name not in NAMES:
            raise ValueError(
                f"--dataset must be one or several of {', '.join(NAMES)}, joined by '+', got "
                f"{text!r}."
            )
    distinct = {FLIC_CONFIGS.get(name, name) for name in names}
    if len(distinct) < len(names):
        raise ValueError(f"--dataset has a data set twice: {text!r}.")
    evaluation_split(names[0])
    return names


def evaluation_split(name: str) -> str:
    """The split of a data set to evaluate on: one with published labels.

    Raises:
        ValueError: The data set has no such split.
    """
    split = {**EVALUATION_SPLITS, KEYPOINTS: "validation"}.get(name, "test")
    if split is None:
        raise ValueError(
            f"The data set {name!r} has no split to evaluate on. Train on it together with one "
            f"that has, named first, as in `train --dataset lsp+{name}`; draw predictions on it "
            "with `predict --split train`."
        )
    return split


def _builder(
    name: str, prepared_dir, keypoint_files: KeypointFiles | None
) -> tfds.core.DatasetBuilder:
    if name == KEYPOINTS:
        from examples.pose.datasets.keypoints import keypoints_dataset_builder

        return keypoints_dataset_builder.Builder(keypoint_files, prepared_dir)
    if name in EVALUATION_SPLITS:
        return builder_class(name)(data_dir=prepared_dir)
    from examples.pose.datasets.flic import flic_examples

    return flic_examples.builder(name, prepared_dir)


def _split_names(name: str, split: str) -> list[str]:
    """The splits that a `tfds` split such as `train[:10%]+test` is made of."""
    known = ["train", "validation"] if name == KEYPOINTS else ["train", "test"]
    if name in EVALUATION_SPLITS:
        known = list(builder_class(name).all_splits)
    names = [part.partition("[")[0].strip() for part in split.split("+")]
    for part in names:
        if part not in (*known, "all"):
            raise ValueError(f"Unknown split {part!r} of {name!r}. Should be one of {known}.")
    return known if "all" in names else names


def load(
    name: str,
    split: str,
    data_dir: str | os.PathLike[str] | None = None,
    prepared_dir: str | os.PathLike[str] | None = None,
    skip_broken: bool = False,
    keypoint_files: KeypointFiles | None = None,
) -> tuple[tf.data.Dataset, Skeleton]:
    """Loads a pose data set, preparing it on first use.

    Preparing reads or draws every image once and stores the examples as records. Later calls read
    the records and do not need `data_dir`. If `data_dir` is given and its labels or pictures have
    changed since, `load` raises an error; delete the folder named in the message to prepare again.
    Changed `keypoint_files` are prepared again at once, with a note on standard error.

    Args:
        name: One of `NAMES`.
        split: `"train"`, `evaluation_split(name)` (`lspet` has `"train"` only), or a `tfds` slice
            of them such as `"train[:10%]"`.
        data_dir: Folder that holds the data set's own folder or archives, for example `lsp/` or
            `lsp_dataset.zip`. Not needed for `"stick_figures"`, nor if the official files can be
            downloaded. Only the files of the requested splits are needed.
        prepared_dir: Folder of the prepared records. Default: the default of `tfds`,
            `~/tensorflow_datasets`.
        skip_broken: Whether to leave out pictures and labels that cannot be used. Otherwise
            an error names them all.
        keypoint_files: The files of `"keypoints"`. Other data sets ignore it.

    Returns:
        A finite `tf.data.Dataset` of unbatched examples, always in the same order, with the
        features that `pose_features` describes; and the `Skeleton` of their joints.

    Raises:
        ValueError: There is no such data set or split, one of its files is broken or has changed
            since it was prepared, or the records cannot be written.
        FileNotFoundError: The data set is not in `data_dir` and cannot be downloaded.
    """
    if name not in NAMES:
        raise ValueError(f"`name` must be one of {list(NAMES)}, got {name!r}.")
    from examples.pose.datasets import official_files, pose_features, preparation
    from examples.pose.datasets.flic import flic_examples
    from examples.pose.datasets.skeletons import FLIC_SKELETON, Skeleton

    splits = _split_names(name, split)
    if name == KEYPOINTS:
        keypoint_files = keypoint_files or KeypointFiles()
        keypoint_files.check(splits)
        data_dir = keypoint_files.images
    manual_dir = official_files.manual_folder(data_dir)
    with preparation.one_line_errors(name, prepared_dir):
        builder = preparation.prepared_builder(
            lambda: _builder(name, prepared_dir, keypoint_files), splits, manual_dir, skip_broken
        )
    dataset = builder.as_dataset(
        split=split, shuffle_files=False, decoders={"image": pose_features.decode_jpeg()}
    )
    if name in FLIC_CONFIGS:
        return flic_examples.convert(dataset), FLIC_SKELETON
    return dataset, Skeleton.from_metadata(builder.info.metadata)
