"""Pose data sets as `tfds` builders. Importing this package registers all of them.

`load` is all that training and evaluation need:

>>> dataset, skeleton = load("stick_figures", "train")
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

import tensorflow as tf
import tensorflow_datasets as tfds
from etils import epath

from examples.pose.datasets import pose_features
from examples.pose.datasets.coco_keypoints import coco_keypoints_dataset_builder
from examples.pose.datasets.coco_keypoints.coco_keypoints_dataset_builder import COCO_SKELETON
from examples.pose.datasets.flic import flic_examples
from examples.pose.datasets.flic.flic_examples import FLIC_SKELETON
from examples.pose.datasets.joint_mapping import with_joints
from examples.pose.datasets.lsp import lsp_dataset_builder
from examples.pose.datasets.lspet import lspet_dataset_builder
from examples.pose.datasets.mpii import mpii_dataset_builder
from examples.pose.datasets.mpii.mpii_dataset_builder import MPII_SKELETON
from examples.pose.datasets.pose_features import LSP_SKELETON, Skeleton
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
    "with_joints",
]


def evaluation_split(name: str) -> str:
    """The split of a data set to measure on: one whose joints are published."""
    return _EVALUATION_SPLITS.get(name, "test")


def _builder(name: str, prepared_dir) -> tfds.core.DatasetBuilder:
    if name in BUILDERS:
        return BUILDERS[name](data_dir=prepared_dir)
    return tfds.builder(flic_examples.CONFIGS[name], data_dir=prepared_dir)


@contextlib.contextmanager
def _preparing(folder: epath.Path) -> Iterator[None]:
    """Lets processes that prepare the data set of a folder in, one after the other."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".preparing", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def load(
    name: str,
    split: str,
    data_dir: str | os.PathLike[str] | None = None,
    prepared_dir: str | os.PathLike[str] | None = None,
) -> tuple[tf.data.Dataset, Skeleton]:
    """Loads a pose data set, preparing it on first use.

    Preparing reads or draws every image once, and keeps the examples as records. Later calls read
    the records and no longer look at `data_dir`; delete the folder `{prepared_dir}/{name}` to
    prepare again.

    Args:
        name: One of `NAMES`.
        split: `"train"`, or what `evaluation_split(name)` says (`lspet` has `"train"` only), or any
            `tfds` slice of them such as `"train[:10%]"`.
        data_dir: Folder that holds the data set's own folder or archives, for example `lsp/` or
            `lsp_dataset.zip`. Not needed for `"stick_figures"`, nor where the official address can
            be reached.
        prepared_dir: Where `tfds` keeps the prepared records, a folder of the file system. Default:
            where `tfds` always does, `~/tensorflow_datasets`.

    Returns:
        A finite `tf.data.Dataset` of single, unbatched examples as `pose_features` describes them,
        always in the same order, and the `Skeleton` that their joints belong to.

    Raises:
        ValueError: If there is no such data set or split, or one of its files is broken.
        FileNotFoundError: If the data set is neither in `data_dir` nor can be downloaded.
    """
    if name not in NAMES:
        raise ValueError(f"`name` must be one of {list(NAMES)}, got {name!r}.")
    builder = _builder(name, prepared_dir)
    if not builder.data_path.exists():
        with _preparing(builder.data_path.parent):
            builder = _builder(name, prepared_dir)  # Another process may have been faster.
            builder.download_and_prepare(
                download_config=tfds.download.DownloadConfig(
                    manual_dir=data_dir and os.path.abspath(os.path.expanduser(data_dir)),
                    try_download_gcs=False,
                )
            )
    dataset = builder.as_dataset(
        split=split, shuffle_files=False, decoders={"image": pose_features.decode_jpeg()}
    )
    if name not in BUILDERS:
        return flic_examples.convert(dataset), FLIC_SKELETON
    return dataset, Skeleton.from_metadata(builder.info.metadata)
