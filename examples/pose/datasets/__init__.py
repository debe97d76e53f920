"""Pose data sets as `tfds` builders. Importing this package registers all of them.

`load` is all that training and evaluation need:

>>> dataset, skeleton = load("stick_figures", "train")
"""

from __future__ import annotations

import os

import tensorflow as tf
import tensorflow_datasets as tfds

from examples.pose.datasets.lsp import lsp_dataset_builder
from examples.pose.datasets.lspet import lspet_dataset_builder
from examples.pose.datasets.pose_features import LSP_SKELETON, Skeleton
from examples.pose.datasets.stick_figures import stick_figures_dataset_builder

BUILDERS: dict[str, type[tfds.core.GeneratorBasedBuilder]] = {
    "lsp": lsp_dataset_builder.Builder,
    "lspet": lspet_dataset_builder.Builder,
    "stick_figures": stick_figures_dataset_builder.Builder,
}

__all__ = ["BUILDERS", "LSP_SKELETON", "Skeleton", "load"]


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
        name: `"lsp"`, `"lspet"` or `"stick_figures"`.
        split: `"train"` or `"test"` (`lspet` has `"train"` only), or any `tfds` slice of them such
            as `"train[:10%]"`.
        data_dir: Folder that holds the data set's own folder or zip file, for example `lsp/` or
            `lsp_dataset.zip`. Not needed for `"stick_figures"`, nor where the official address can
            be reached.
        prepared_dir: Where `tfds` keeps the prepared records. Default: where `tfds` always does,
            `~/tensorflow_datasets`.

    Returns:
        A finite `tf.data.Dataset` of single, unbatched examples as `pose_features` describes them,
        always in the same order, and the `Skeleton` that their joints belong to.

    Raises:
        ValueError: If there is no such data set or split, or one of its files is broken.
        FileNotFoundError: If the data set is neither in `data_dir` nor can be downloaded.
    """
    if name not in BUILDERS:
        raise ValueError(f"`name` must be one of {sorted(BUILDERS)}, got {name!r}.")
    builder = BUILDERS[name](data_dir=prepared_dir)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(
            manual_dir=data_dir and os.path.abspath(os.path.expanduser(data_dir)),
            try_download_gcs=False,
        )
    )
    dataset = builder.as_dataset(split=split, shuffle_files=False)
    return dataset, Skeleton.from_metadata(builder.info.metadata)
