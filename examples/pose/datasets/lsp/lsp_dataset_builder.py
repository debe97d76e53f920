"""Leeds Sports Pose (LSP)."""

from __future__ import annotations

import numpy as np
import tensorflow_datasets as tfds

from examples.pose.datasets import leeds_sports, pose_features

_NAME = "lsp"
_HOMEPAGE = "http://sam.johnson.io/research/lsp.html"
_URL = "http://sam.johnson.io/research/lsp_dataset.zip"
_FILE_NAME_DIGITS = 4


class Builder(tfds.core.GeneratorBasedBuilder):
    """Leeds Sports Pose: the first half of its images are `train`, the second half `test`."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = leeds_sports.MANUAL_DOWNLOAD_INSTRUCTIONS.format(
        name=_NAME, url=_URL
    )

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=pose_features.pose_features(),
            metadata=pose_features.pose_metadata(),
            homepage=_HOMEPAGE,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        root = leeds_sports.find_root(dl_manager, _NAME, _URL)
        labels = leeds_sports.read_labels(root, (3, 14, None)).transpose(2, 1, 0)
        leeds_sports.check_image_count(root, len(labels))
        half = len(labels) // 2  # 1000 of 2000: the protocol that the data set comes with.
        return {
            "train": self._generate_examples(root, labels, range(half)),
            "test": self._generate_examples(root, labels, range(half, len(labels))),
        }

    def _generate_examples(self, root: leeds_sports.Root, labels: np.ndarray, indices: range):
        # The third value is 1 where a joint is OCCLUDED. Its position is labelled all the same.
        occluded = labels[..., 2] != 0
        visibility = np.where(occluded, pose_features.OCCLUDED, pose_features.VISIBLE)
        yield from leeds_sports.generate_examples(
            root, labels[..., :2], visibility, indices, _FILE_NAME_DIGITS
        )
