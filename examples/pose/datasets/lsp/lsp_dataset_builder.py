"""Leeds Sports Pose (LSP)."""

from __future__ import annotations

import numpy as np

from examples.pose.datasets import leeds_sports, skeletons


class Builder(leeds_sports.LeedsSportsBuilder):
    """Leeds Sports Pose: the first half of its images are `train`, the second half `test`."""

    official = leeds_sports.Official(
        name="lsp",
        folders=("lsp", "lsp_dataset", "lsp_dataset_original"),
        archives=("lsp_dataset.zip", "lsp.zip", "lsp_dataset_original.zip"),
        url="http://sam.johnson.io/research/lsp_dataset.zip",
        homepage="http://sam.johnson.io/research/lsp.html",
        shape=(3, 14, None),
        digits=4,
    )
    all_splits = ("train", "test")
    MANUAL_DOWNLOAD_INSTRUCTIONS = official.instructions

    def _indices(self, count: int) -> dict[str, range]:
        half = count // 2  # 1000 of 2000, the official protocol.
        return {"train": range(half), "test": range(half, count)}

    def _coordinates_and_flags(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        labels = labels.transpose(2, 1, 0)
        return labels[..., :2], labels[..., 2]

    def _visibility(self, flags: np.ndarray) -> np.ndarray:
        # The flag is 1 if a joint is OCCLUDED. Its position is labelled nevertheless.
        return np.where(flags, skeletons.OCCLUDED, skeletons.VISIBLE)
