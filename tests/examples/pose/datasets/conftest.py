"""Fixtures of the tests of data sets."""

import shutil

import pytest
import requests
import tensorflow_datasets as tfds

from examples.pose import datasets
from tests.examples.pose.datasets.small_copies import BUILDERS


@pytest.fixture
def no_network(monkeypatch):
    """Makes every request fail, so that a test does not depend on the network."""

    def refuse(*args, **kwargs):
        raise requests.ConnectionError("no network in tests")

    monkeypatch.setattr(requests.Session, "request", refuse)


@pytest.fixture(scope="session")
def prepare(tmp_path_factory):
    """A function that prepares a builder's data set from official files."""

    def prepare(builder_class, manual_dir):
        builder = builder_class(data_dir=tmp_path_factory.mktemp("prepared"))
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(manual_dir=manual_dir)
        )
        return builder

    return prepare


@pytest.fixture
def copy(tmp_path):
    """A function that copies a small data set to `tmp_path / "data"` and returns its folder."""

    def copy(name):
        source = BUILDERS / ("coco_keypoints" if name == "coco" else name) / "dummy_data"
        shutil.copytree(source, tmp_path / "data", dirs_exist_ok=True)
        return tmp_path / "data" / name

    return copy


@pytest.fixture
def load(tmp_path):
    """A function that loads a data set from `tmp_path / "data"`, as a dict by id."""

    def load(name, split="train", data_dir=tmp_path / "data", **options):
        name = "coco_keypoints" if name == "coco" else name
        dataset, _ = datasets.load(name, split, data_dir, tmp_path / "prepared", **options)
        return {e["id"].decode(): e for e in dataset.as_numpy_iterator()}

    return load
