"""Tests of the `lspet` builder."""

import numpy as np
import scipy.io
import tensorflow_datasets as tfds
from etils import epath

from examples.pose.datasets.lspet import lspet_dataset_builder

_DUMMY_DATA = epath.Path(lspet_dataset_builder.__file__).parent / "dummy_data"


class LspetTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = lspet_dataset_builder.Builder
    SPLITS = {"train": 3}


def test_examples_follow_joints_mat(tmp_path):
    builder = lspet_dataset_builder.Builder(data_dir=tmp_path)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=_DUMMY_DATA)
    )
    labels = scipy.io.loadmat(_DUMMY_DATA / "lspet" / "joints.mat")["joints"]
    assert 0 < labels[:, 2].sum() < labels[:, 2].size  # Some joints are labelled, some are not.
    names = []
    for example in tfds.as_numpy(builder.as_dataset(split="train")):
        names.append(example["id"].decode())
        column = int(names[-1].removeprefix("im")) - 1
        # The third column is 1 if a joint is labelled, unlike in lsp.
        labelled = labels[:, 2, column] == 1
        np.testing.assert_array_equal(example["visibility"], np.where(labelled, 2, 0))
        # The file counts from 1, examples from 0. Joints that are not labelled are at (0, 0).
        expected = np.where(labelled[:, np.newaxis], labels[:, :2, column] - 1, 0)
        np.testing.assert_allclose(example["joints"], expected, rtol=1e-6)
    assert sorted(names) == ["im00001", "im00002", "im00003"]


if __name__ == "__main__":
    tfds.testing.test_main()
