"""Pose data sets as `tfds` builders. Importing this package registers all of them.

`load` is all that training and evaluation need:

>>> dataset, skeleton = load("stick_figures", "train")
"""

from __future__ import annotations

import os

import tensorflow as tf
import tensorflow_datasets as tfds

from examples.pose.datasets import official_files, pose_features, preparation
from examples.pose.datasets.coco_keypoints import coco_keypoints_dataset_builder
from examples.pose.datasets.flic import flic_examples
from examples.pose.datasets.joint_mapping import with_joints
from examples.pose.datasets.lsp import lsp_dataset_builder
from examples.pose.datasets.lspet import lspet_dataset_builder
from examples.pose.datasets.mpii import mpii_dataset_builder
from examples.pose.datasets.skeletons import (
    COCO_SKELETON,
    FLIC_SKELETON,
    LSP_SKELETON,
    MPII_SKELETON,
    Skeleton,
)
from examples.pose.datasets.stick_figures import stick_figures_dataset_builder

BUILDERS: dict[str, type[tfds.core.GeneratorBasedBuilder]] = {
    "coco_keypoints": coco_keypoints_dataset_builder.Builder,
    "lsp": lsp_dataset_builder.Builder,
    "lspet": lspet_dataset_builder.Builder,
    "mpii": mpii_dataset_builder.Builder,
    "stick_figures": stick_figures_dataset_builder.Builder,
}
NAMES = tuple(sorted([*BUILDERS, *flic_examples.CONFIGS]))

# The split to measure on, where that is not `test`.
_EVALUATION_SPLITS = {"coco_keypoints": "validation", "mpii": "validation"}

__all__ = [
    "BUILDERS",
    "COCO_SKELETON",
    "FLIC_SKELETON",
    "LSP_SKELETON",
    "MPII_SKELETON",
    "NAMES",
    "Skeleton",
    "evaluation_split",
    "load",
    "parse_names",
    "with_joints",
]


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
    own = [flic_examples.CONFIGS.get(name, name) for name in names]
    if len(set(own)) < len(own):
        raise ValueError(f"--dataset has a data set twice: {text!r}.")
    evaluation_split(names[0])
    return names


def evaluation_split(name: str) -> str:
    """The split of a data set to evaluate on: one with published labels.

    Raises:
        ValueError: The data set has no such split.
    """
    split = _EVALUATION_SPLITS.get(name, "test")
    if name in BUILDERS and split not in BUILDERS[name].all_splits:
        raise ValueError(
            f"The data set {name!r} has no split to evaluate on. Name a data set before it that "
            f"has one, as in `lsp+{name}`."
        )
    return split


def _builder(name: str, prepared_dir) -> tfds.core.DatasetBuilder:
    if name in BUILDERS:
        return BUILDERS[name](data_dir=prepared_dir)
    return flic_examples.builder(name, prepared_dir)


def _split_names(name: str, split: str) -> list[str]:
    """The splits that a `tfds` split such as `train[:10%]+test` is made of."""
    known = list(BUILDERS[name].all_splits) if name in BUILDERS else ["train", "test"]
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
) -> tuple[tf.data.Dataset, Skeleton]:
    """Loads a pose data set, preparing it on first use.

    Preparing reads or draws every image once and stores the examples as records. Later calls read
    the records and do not need `data_dir`. If `data_dir` is given and its labels or pictures have
    changed since, `load` raises an error; delete the folder named in the message to prepare again.

    Args:
        name: One of `NAMES`.
        split: `"train"`, `evaluation_split(name)` (`lspet` has `"train"` only), or a `tfds` slice
            of them such as `"train[:10%]"`.
        data_dir: Folder that holds the data set's own folder or archives, for example `lsp/` or
            `lsp_dataset.zip`. Not needed for `"stick_figures"`, nor if the official files can be
            downloaded. It needs only the files of the requested splits.
        prepared_dir: Folder of the prepared records. Default: the default of `tfds`,
            `~/tensorflow_datasets`.
        skip_broken: Whether to leave out pictures and labels that cannot be used. Otherwise
            an error names them all.

    Returns:
        A finite `tf.data.Dataset` of unbatched examples with the features of `pose_features`,
        always in the same order, and the `Skeleton` of their joints.

    Raises:
        ValueError: There is no such data set or split, one of its files is broken or has changed
            since it was prepared, or the records cannot be written.
        FileNotFoundError: The data set is not in `data_dir` and cannot be downloaded.
    """
    if name not in NAMES:
        raise ValueError(f"`name` must be one of {list(NAMES)}, got {name!r}.")
    splits = _split_names(name, split)
    manual_dir = official_files.manual_folder(data_dir)
    with preparation.one_line_errors(name, prepared_dir):
        builder = preparation.prepared(
            lambda: _builder(name, prepared_dir), splits, manual_dir, skip_broken
        )
    dataset = builder.as_dataset(
        split=split, shuffle_files=False, decoders={"image": pose_features.decode_jpeg()}
    )
    if name not in BUILDERS:
        return flic_examples.convert(dataset), FLIC_SKELETON
    return dataset, Skeleton.from_metadata(builder.info.metadata)
