"""Fixtures of the tests of COCO-style files."""

import pytest

from tests.examples.pose.datasets.coco_keypoints import small_labels


@pytest.fixture
def data_dir(tmp_path):
    """A manual folder with one picture of the split `validation`."""
    (tmp_path / "data" / "annotations").mkdir(parents=True)
    (tmp_path / "data" / "val2017").mkdir()
    small_labels.write_picture(tmp_path / "data" / "val2017" / "a.jpg")
    return tmp_path / "data"
