"""Generated articulated figures (`stick_figures`)."""

from __future__ import annotations

import dataclasses

import tensorflow_datasets as tfds

from examples.pose.datasets import pose_features
from examples.pose.datasets.stick_figures import figure


@dataclasses.dataclass
class StickFiguresConfig(tfds.core.BuilderConfig):
    """Number, size and seed of the images.

    Attributes:
        seed: Seed of the data set. The seed, the name of the split and the number of an example
            determine the example.
        train_examples: Number of examples in `train`.
        test_examples: Number of examples in `test`.
        image_size: Height and width of the images in pixels.
    """

    seed: int = 0
    train_examples: int = 4000
    test_examples: int = 500
    image_size: int = 128


class Builder(tfds.core.GeneratorBasedBuilder):
    """Articulated figures on textured backgrounds, drawn while the data set is prepared."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}
    BUILDER_CONFIGS = [
        StickFiguresConfig(name="default", description="4000 + 500 images of 128 x 128 pixels."),
    ]

    all_splits = ("train", "test")

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=pose_features.pose_features(),
            metadata=pose_features.pose_metadata(),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        del dl_manager  # Unused: figures are drawn, not downloaded.
        return {
            "train": self._generate_examples("train", self.builder_config.train_examples),
            "test": self._generate_examples("test", self.builder_config.test_examples),
        }

    def _generate_examples(self, split: str, count: int):
        for index in range(count):
            drawn = figure.draw_figure(
                self.builder_config.seed, split, index, self.builder_config.image_size
            )
            yield (
                index,
                {
                    "image": drawn.to_jpeg(),
                    "joints": drawn.joints,
                    "visibility": drawn.visibility,
                    "id": f"{split}_{index:05d}",
                },
            )
