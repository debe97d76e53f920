"""Tests of finding official files in every layout, and of errors if they are missing."""

import errno
import os
import shutil
import tarfile
import zipfile

import numpy as np
import pytest
import requests
import tensorflow_datasets as tfds
from etils import epath
from PIL import Image

from examples.pose import datasets
from examples.pose.datasets import official_files
from tests.examples.pose.datasets.small_copies import BUILDERS

pytestmark = pytest.mark.usefixtures("no_network")


def _zip(source, archive, prefix=""):
    with zipfile.ZipFile(archive, "w") as writer:
        for file in sorted(source.rglob("*")) if source.is_dir() else [source]:
            name = file.relative_to(source.parent) if source.is_dir() else file.name
            writer.write(file, f"{prefix}{name}")


def _ids(name, split, data_dir, prepared_dir):
    dataset, _ = datasets.load(name, split, data_dir, prepared_dir)
    examples = sorted(dataset.as_numpy_iterator(), key=lambda e: e["person"]["person_id"])
    return [(e["id"], e["joints"].tolist(), e["image"].tolist()) for e in examples]


@pytest.mark.parametrize("layout", ["archives", "archives beside", "folder itself", "beside lsp"])
def test_mpii_layouts(tmp_path, layout):
    expected = _ids("mpii", "train", BUILDERS / "mpii" / "dummy_data", tmp_path / "a")
    data = tmp_path / "data"
    shutil.copytree(BUILDERS / "mpii" / "dummy_data", data)
    if layout == "beside lsp":  # lsp has a folder of images too.
        (data / "lsp" / "images").mkdir(parents=True)
    if layout != "folder itself":
        folder = data / "mpii" if layout == "archives" else data
        labels = data / "mpii" / "mpii_human_pose_v1_u12_1.mat"
        _zip(labels, folder / "mpii_human_pose_v1_u12_2.zip", "mpii_human_pose_v1_u12_2/")
        with tarfile.open(folder / "mpii_human_pose_v1.tar.gz", "w:gz") as writer:
            writer.add(data / "mpii" / "images", "images")
        labels.unlink()
        shutil.rmtree(data / "mpii" / "images")
    else:
        data = data / "mpii"
    assert _ids("mpii", "train", data, tmp_path / "b") == expected


@pytest.mark.parametrize("layout", ["archives", "archives beside", "folder itself"])
def test_coco_layouts(tmp_path, layout):
    expected = _ids(
        "coco_keypoints", "validation", BUILDERS / "coco_keypoints/dummy_data", tmp_path
    )
    data = tmp_path / "data"
    shutil.copytree(BUILDERS / "coco_keypoints" / "dummy_data", data)
    if layout != "folder itself":
        folder = data / "coco" if layout == "archives" else data
        _zip(data / "coco" / "annotations", folder / "annotations_trainval2017.zip")
        for name in ("train2017", "val2017"):
            _zip(data / "coco" / name, folder / f"{name}.zip")
        for name in ("annotations", "train2017", "val2017"):
            shutil.rmtree(data / "coco" / name)
    else:
        data = data / "coco"
    assert _ids("coco_keypoints", "validation", data, tmp_path / "b") == expected


@pytest.mark.parametrize(
    "name,archive",
    [("mpii", "mpii_human_pose_v1_u12_2.zip"), ("coco_keypoints", "annotations_trainval2017.zip")],
)
def test_error_for_a_missing_data_set_names_the_archive(tmp_path, name, archive):
    with pytest.raises(FileNotFoundError, match=archive) as raised:
        datasets.load(name, "train", tmp_path / "empty", tmp_path / "prepared")
    assert "no network in tests" in str(raised.value) and "`data_dir`" in str(raised.value)


def test_broken_zip_file_is_named(tmp_path):
    (tmp_path / "data").mkdir()
    archive = tmp_path / "data" / "annotations_trainval2017.zip"
    archive.write_bytes(b"PK no zip file")
    with pytest.raises(ValueError, match=r"annotations_trainval2017\.zip is not a complete zip"):
        datasets.load("coco_keypoints", "train", tmp_path / "data", tmp_path / "prepared")
    archive.unlink()
    _zip(BUILDERS / "lsp" / "README.md", archive)
    with pytest.raises(ValueError, match=r"holds no annotations/person_keypoints_train2017\.json"):
        datasets.load("coco_keypoints", "train", tmp_path / "data", tmp_path / "prepared")


def test_broken_tar_file_is_named(tmp_path):
    data = tmp_path / "data"
    shutil.copytree(BUILDERS / "mpii" / "dummy_data", data)
    shutil.rmtree(data / "mpii" / "images")
    (data / "mpii_human_pose_v1.tar.gz").write_bytes(b"no tar file")
    with pytest.raises(ValueError, match=r"mpii_human_pose_v1\.tar\.gz cannot be unpacked"):
        datasets.load("mpii", "train", data, tmp_path / "prepared")


def test_read_rgb(tmp_path):
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    image = official_files.read_rgb(epath.Path(tmp_path / "grey.png"), "labels")
    np.testing.assert_array_equal(image, np.repeat(grey[..., None], 3, axis=-1))
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    for content in (whole[: len(whole) // 2], b"no image"):
        (tmp_path / "cut.jpg").write_bytes(content)
        with pytest.raises(ValueError, match=r"cut\.jpg is not a complete image"):
            official_files.read_rgb(epath.Path(tmp_path / "cut.jpg"), "labels")
    with pytest.raises(FileNotFoundError, match=r"gone\.png is missing, but labels has"):
        official_files.read_rgb(epath.Path(tmp_path / "gone.png"), "labels")


def test_nothing_is_downloaded_if_files_are_in_the_manual_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(requests, "head", lambda *a, **k: pytest.fail("asked the network"))
    manual = BUILDERS / "coco_keypoints" / "dummy_data"
    builder = datasets.builder_class("coco_keypoints")(data_dir=tmp_path)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual))
    assert builder.info.splits["train"].num_examples == 3


def test_a_full_disk_is_not_blamed_on_the_archive(tmp_path):
    class Full:
        def extract(self, path):
            reason = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            raise RuntimeError(f"Error while extracting {path}") from reason

    archive = epath.Path(tmp_path / "images.tar.gz")
    archive.touch()
    part = official_files.Part("images", "images.tar.gz", "https://example.com")
    with pytest.raises(OSError, match="No space left on device"):
        official_files._open_archive(Full(), archive, part)


def test_a_file_without_permission_is_not_called_damaged(tmp_path, monkeypatch):
    def refused(*arguments, **keywords):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    archive = tmp_path / "images.zip"
    _zip(tmp_path, archive)
    monkeypatch.setattr(zipfile, "ZipFile", refused)
    with pytest.raises(ValueError, match=r"images\.zip cannot be read: Permission denied\.$"):
        official_files.open_zip(archive)
