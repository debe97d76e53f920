"""Tests of the `lsp` builder."""

import numpy as np
import scipy.io
import tensorflow_datasets as tfds
from etils import epath

from examples.pose.datasets.lsp import lsp_dataset_builder
from examples.pose.datasets.skeletons import LSP_SKELETON, Skeleton

_DUMMY_DATA = epath.Path(lsp_dataset_builder.__file__).parent / "dummy_data"


class LspTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = lsp_dataset_builder.Builder
    SPLITS = {"train": 2, "test": 2}


def _prepare(tmp_path):
    builder = lsp_dataset_builder.Builder(data_dir=tmp_path)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=_DUMMY_DATA)
    )
    return builder


def test_examples_follow_joints_mat(tmp_path):
    builder = _prepare(tmp_path)
    labels = scipy.io.loadmat(_DUMMY_DATA / "lsp" / "joints.mat")["joints"]
    assert 0 < labels[2].sum() < labels[2].size  # Some joints are occluded, some are not.
    seen = {}
    for split in ("train", "test"):
        for example in tfds.as_numpy(builder.as_dataset(split=split)):
            seen[example["id"].decode()] = split
            column = int(example["id"].decode().removeprefix("im")) - 1
            # The file counts from 1, examples from 0.
            np.testing.assert_allclose(example["joints"], labels[:2, :, column].T - 1, rtol=1e-6)
            # The third row is 1 where a joint is occluded.
            np.testing.assert_array_equal(
                example["visibility"], np.where(labels[2, :, column] == 1, 1, 2)
            )
            assert example["image"].shape == (40, 40, 3)
    assert seen == {"im0001": "train", "im0002": "train", "im0003": "test", "im0004": "test"}


def test_metadata_holds_the_skeleton_after_reloading(tmp_path):
    assert Skeleton.from_metadata(_prepare(tmp_path).info.metadata) == LSP_SKELETON
    reloaded = tfds.builder_from_directory(str(_prepare(tmp_path).data_dir))
    assert Skeleton.from_metadata(reloaded.info.metadata) == LSP_SKELETON


if __name__ == "__main__":
    tfds.testing.test_main()
