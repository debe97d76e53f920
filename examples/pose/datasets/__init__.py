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
    """Splits names that are joined by `+`, as in `lsp+lspet`.

    Raises:
        ValueError: A name is unknown or given twice, or the first has no split to measure on.
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
    """The split of a data set to measure on: one whose joints are published.

    Raises:
        ValueError: The data set has none.
    """
    split = _EVALUATION_SPLITS.get(name, "test")
    if name in BUILDERS and split not in BUILDERS[name].all_splits:
        raise ValueError(
            f"The data set {name!r} has no split to measure on. It can be trained on after one "
            f"that has, as in `lsp+{name}`."
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

    Preparing reads or draws every image once, and keeps the examples as records. Later calls read
    the records. They need `data_dir` no longer, but refuse to go on if it is given and its labels
    or pictures have changed since; delete the folder that the message names to prepare again.

    Args:
        name: One of `NAMES`.
        split: `"train"`, or what `evaluation_split(name)` says (`lspet` has `"train"` only), or any
            `tfds` slice of them such as `"train[:10%]"`.
        data_dir: Folder that holds the data set's own folder or archives, for example `lsp/` or
            `lsp_dataset.zip`. Not needed for `"stick_figures"`, nor where the official address can
            be reached. Files of other splits than the ones asked for need not be there.
        prepared_dir: Where `tfds` keeps the prepared records, a folder of the file system. Default:
            where `tfds` always does, `~/tensorflow_datasets`.
        skip_broken: Whether preparing leaves out pictures and labels that cannot be used. They are
            all named in an error otherwise.

    Returns:
        A finite `tf.data.Dataset` of single, unbatched examples as `pose_features` describes them,
        always in the same order, and the `Skeleton` that their joints belong to.

    Raises:
        ValueError: If there is no such data set or split, one of its files is broken or has changed
            since it was prepared, or the records cannot be written.
        FileNotFoundError: If the data set is neither in `data_dir` nor can be downloaded.
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
