"""Leeds Sports Pose Extended (LSPET)."""

from __future__ import annotations

import numpy as np

from examples.pose.datasets import leeds_sports, skeletons


class Builder(leeds_sports.LeedsSportsBuilder):
    """Leeds Sports Pose Extended: all of its images are `train`."""

    official = leeds_sports.Official(
        name="lspet",
        folders=("lspet", "lspet_dataset", "hr-lspet"),
        archives=("lspet_dataset.zip", "lspet.zip", "hr-lspet.zip"),
        url="http://sam.johnson.io/research/lspet_dataset.zip",
        homepage="http://sam.johnson.io/research/lspet.html",
        shape=(14, 3, None),
        digits=5,
    )
    all_splits = ("train",)
    MANUAL_DOWNLOAD_INSTRUCTIONS = official.instructions

    def _indices(self, count: int) -> dict[str, range]:
        return {"train": range(count)}

    def _coordinates_and_flags(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        labels = labels.transpose(2, 0, 1)
        return labels[..., :2], labels[..., 2]

    def _visibility(self, flags: np.ndarray) -> np.ndarray:
        # The flag is 1 if a joint is LABELLED, unlike in LSP. Whether a labelled joint is occluded
        # is not recorded.
        return np.where(flags, skeletons.VISIBLE, skeletons.NOT_LABELLED)
