"""Leeds Sports Pose Extended (LSPET)."""

from __future__ import annotations

import numpy as np
import tensorflow_datasets as tfds

from examples.pose.datasets import leeds_sports, pose_features

_NAME = "lspet"
_HOMEPAGE = "http://sam.johnson.io/research/lspet.html"
_URL = "http://sam.johnson.io/research/lspet_dataset.zip"
_FILE_NAME_DIGITS = 5


class Builder(tfds.core.GeneratorBasedBuilder):
    """Leeds Sports Pose Extended: all of its images are `train`."""

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
        labels = leeds_sports.read_labels(root, (14, 3, None)).transpose(2, 0, 1)
        leeds_sports.check_image_count(root, len(labels))
        return {"train": self._generate_examples(root, labels)}

    def _generate_examples(self, root: leeds_sports.Root, labels: np.ndarray):
        # The third value is 1 where a joint is LABELLED: the opposite of the small data set's.
        # Nothing says whether a labelled joint is hidden.
        labelled = labels[..., 2] != 0
        visibility = np.where(labelled, pose_features.VISIBLE, pose_features.NOT_LABELLED)
        yield from leeds_sports.generate_examples(
            root, labels[..., :2], visibility, range(len(labels)), _FILE_NAME_DIGITS
        )
