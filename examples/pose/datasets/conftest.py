"""What tests of data sets share."""

import pytest
import requests
import tensorflow_datasets as tfds


@pytest.fixture
def no_network(monkeypatch):
    """Such tests may not reach for the network: they are the same with and without one."""

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
