"""Helpers for the tests of the format."""

import pytest

from tests.examples.pose.datasets.coco_keypoints import small_labels


@pytest.fixture
def data_dir(tmp_path):
    """A folder with the validation half of the data set only."""
    (tmp_path / "data" / "annotations").mkdir(parents=True)
    (tmp_path / "data" / "val2017").mkdir()
    small_labels.write_picture(tmp_path / "data" / "val2017" / "a.jpg")
    return tmp_path / "data"
