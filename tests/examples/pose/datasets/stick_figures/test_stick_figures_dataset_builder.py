"""Tests of the `stick_figures` builder."""

import pathlib

import numpy as np
import tensorflow_datasets as tfds

from examples.pose.datasets.stick_figures import figure, stick_figures_dataset_builder

_TINY = stick_figures_dataset_builder.StickFiguresConfig(
    name="tiny", seed=3, train_examples=5, test_examples=3, image_size=48
)


class StickFiguresTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = stick_figures_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = [_TINY]
    SPLITS = {"train": 5, "test": 3}
    EXAMPLE_DIR = pathlib.Path(__file__).parent  # Required by tfds, but nothing is read.


def test_examples_are_the_drawn_figures(tmp_path):
    builder = stick_figures_dataset_builder.Builder(data_dir=tmp_path, config=_TINY)
    builder.download_and_prepare()
    examples = list(tfds.as_numpy(builder.as_dataset(split="test")))
    assert len(examples) == 3
    for example in examples:
        index = int(example["id"].decode().removeprefix("test_"))
        drawn = figure.draw_figure(3, "test", index, 48)
        np.testing.assert_array_equal(example["joints"], drawn.joints)
        np.testing.assert_array_equal(example["visibility"], drawn.visibility)
        # The image was compressed as JPEG.
        assert abs(example["image"].astype(float) - drawn.image).mean() < 12


def test_default_is_4000_and_500_images():
    config = stick_figures_dataset_builder.Builder.BUILDER_CONFIGS[0]
    assert (config.train_examples, config.test_examples, config.image_size) == (4000, 500, 128)


if __name__ == "__main__":
    tfds.testing.test_main()
