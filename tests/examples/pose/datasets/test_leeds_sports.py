"""Tests of finding and reading the Leeds Sports Pose data sets, and of errors."""

import shutil
import zipfile

import numpy as np
import pytest
import requests
import scipy.io
import tensorflow_datasets as tfds

from examples.pose import datasets
from examples.pose.datasets import leeds_sports, official_files
from tests.data_folder import DATA_DIR
from tests.examples.pose.datasets.small_copies import BUILDERS

pytestmark = pytest.mark.usefixtures("no_network")


@pytest.fixture(params=["lsp", "lspet"])
def name(request):
    return request.param


@pytest.fixture
def data_dir(tmp_path, name):
    """A manual folder that holds a copy of the small data set."""
    shutil.copytree(BUILDERS / name / "dummy_data", tmp_path / "data")
    return tmp_path / "data"


def _write_zip(source, path, prefix=""):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(source.rglob("*")):
            archive.write(file, prefix + str(file.relative_to(source)))


def _examples(name, data_dir, prepared_dir):
    dataset, _ = datasets.load(name, "train", data_dir, prepared_dir)
    return {example["id"]: example for example in dataset.as_numpy_iterator()}


def _assert_same(examples, others):
    assert examples.keys() == others.keys()
    assert examples
    for key in examples:
        for feature in ("image", "joints", "visibility"):
            np.testing.assert_array_equal(examples[key][feature], others[key][feature])


@pytest.mark.parametrize("layout", ["zip", "zip with a folder", "folder itself", "other name"])
def test_all_layouts_give_the_same_examples(tmp_path, name, data_dir, layout):
    expected = _examples(name, data_dir, tmp_path / "prepared_folder")
    if layout == "zip":
        _write_zip(data_dir / name, data_dir / f"{name}_dataset.zip")
        shutil.rmtree(data_dir / name)
    elif layout == "zip with a folder":
        # The official lsp zip file has a second folder with images, which must not be read.
        (data_dir / name / "visualized").mkdir()
        (data_dir / name / "visualized" / "im0001.jpg").write_bytes(b"not an image")
        _write_zip(data_dir / name, data_dir / f"{name}_dataset.zip", f"{name}_dataset/")
        shutil.rmtree(data_dir / name)
    elif layout == "folder itself":
        data_dir = data_dir / name
    else:
        (data_dir / name).rename(data_dir / f"{name}_dataset")
    _assert_same(_examples(name, data_dir, tmp_path / "prepared"), expected)


def test_downloads_if_not_in_the_manual_folder(tmp_path, name, data_dir, monkeypatch):
    expected = _examples(name, data_dir, tmp_path / "prepared_folder")
    archive = tmp_path / "downloaded.zip"
    _write_zip(data_dir / name, archive)
    shutil.rmtree(data_dir / name)
    urls = []
    answer = requests.Response()
    answer.status_code = 200
    monkeypatch.setattr(requests, "head", lambda url, **kwargs: answer)
    monkeypatch.setattr(
        tfds.download.DownloadManager, "download", lambda self, url: urls.append(url) or archive
    )
    _assert_same(_examples(name, data_dir, tmp_path / "prepared"), expected)
    assert urls == [f"http://sam.johnson.io/research/{name}_dataset.zip"]


@pytest.mark.parametrize("folder", ["missing", "empty", "something else"])
def test_error_for_a_missing_data_set_says_what_to_do(tmp_path, name, folder):
    data_dir = tmp_path / "data"
    if folder != "missing":
        data_dir.mkdir()
    if folder == "something else":
        (data_dir / "notes.txt").write_text("hello")
    with pytest.raises(FileNotFoundError) as caught:
        datasets.load(name, "train", data_dir, tmp_path / "prepared")
    message = str(caught.value)
    for part in (
        str(data_dir),
        f"`{name}/`",
        f"{name}_dataset.zip",
        f"http://sam.johnson.io/research/{name}_dataset.zip",
        "no network in tests",
    ):
        assert part in message
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    # No partial records remain.
    assert [p.name for p in (tmp_path / "prepared" / name).iterdir()] == [".preparing"]


@pytest.mark.parametrize("damage", ["truncated", "empty", "not an image"])
@pytest.mark.parametrize("as_zip", [False, True])
def test_broken_jpeg_is_named(tmp_path, name, data_dir, damage, as_zip):
    image = sorted((data_dir / name / "images").iterdir())[1]
    content = image.read_bytes()
    content = {"truncated": content[:-200], "empty": b"", "not an image": b"<html>"}[damage]
    image.write_bytes(content)
    if as_zip:
        _write_zip(data_dir / name, data_dir / f"{name}_dataset.zip")
        shutil.rmtree(data_dir / name)
    with pytest.raises(ValueError, match=rf"{image.name} is not a complete image"):
        datasets.load(name, "train", data_dir, tmp_path / "prepared")


def test_missing_image_is_named(tmp_path, name, data_dir):
    images = sorted((data_dir / name / "images").iterdir())
    images[0].unlink()
    with pytest.raises(FileNotFoundError, match=r"images holds \d \.jpg files, but .* labels \d"):
        datasets.load(name, "train", data_dir, tmp_path / "prepared")
    images[1].with_name("other.jpg").write_bytes(images[1].read_bytes())
    with pytest.raises(FileNotFoundError, match=rf"{images[0].name} is missing"):
        datasets.load(name, "train", data_dir, tmp_path / "prepared")


def test_labels_of_the_other_data_set_raise(tmp_path, name, data_dir):
    other = "lspet" if name == "lsp" else "lsp"
    labels = BUILDERS / other / "dummy_data" / other / "joints.mat"
    shutil.copyfile(labels, data_dir / name / "joints.mat")
    with pytest.raises(ValueError, match=r"has shape .*, expected .*number of images"):
        datasets.load(name, "train", data_dir, tmp_path / "prepared")


@pytest.mark.parametrize("content", ["text", "another variable"])
def test_broken_labels_are_named(tmp_path, name, data_dir, content):
    labels = data_dir / name / "joints.mat"
    if content == "text":
        labels.write_text("hello")
    else:
        scipy.io.savemat(labels, {"points": np.zeros(3)})
    with pytest.raises(ValueError, match=r"joints\.mat is not a MATLAB file with an array"):
        datasets.load(name, "train", data_dir, tmp_path / "prepared")


def _write_labels(data_dir, name, change):
    """Changes the labels in place by `change`, a function of an array `[joints, 3, images]`."""
    path = data_dir / name / "joints.mat"
    labels = scipy.io.loadmat(path)["joints"].astype(np.float64)
    order = (1, 0, 2) if name == "lsp" else (0, 1, 2)
    labels = labels.transpose(order)
    change(labels)
    scipy.io.savemat(path, {"joints": labels.transpose(order)})


@pytest.mark.parametrize("change,message", [
    (np.nan, "third value of joint 3 of image 2 is nan, expected 0 or 1"),
    (2.0, "third value of joint 3 of image 2 is 2.0"),
    (-1.0, "third value of joint 3 of image 2 is -1.0"),
    ((np.inf, 0), "position of joint 3 of image 2 is"),
    ((0, -np.inf), "position of joint 3 of image 2 is"),
    ((1e18, 5), "position of joint 3 of image 2 is"),
    ((5, -1e300), "position of joint 3 of image 2 is"),
])  # fmt: skip
def test_invalid_labels_are_named(tmp_path, name, data_dir, change, message):
    def write(labels):
        if isinstance(change, tuple):
            labels[2, :2, 1] = change
        else:
            labels[2, 2, 1] = change

    _write_labels(data_dir, name, write)
    with pytest.raises(ValueError, match=rf"joints\.mat: the {message}.*--skip_broken"):
        datasets.load(name, "train", data_dir, tmp_path / "prepared")
    dataset, _ = datasets.load(name, "train", data_dir, tmp_path / "prepared", skip_broken=True)
    ids = [int(example["id"][2:]) for example in dataset.as_numpy_iterator()]
    assert ids and 2 not in ids


@pytest.mark.parametrize("axis,value", [
    (0, np.nan), (1, np.nan), (slice(None, 2), np.nan), (slice(None, 2), 0),
])  # fmt: skip
def test_joints_without_coordinates_are_not_labelled(tmp_path, name, data_dir, axis, value):
    def write(labels):
        labels[2, axis, 1] = value

    _write_labels(data_dir, name, write)
    examples = _examples(name, data_dir, tmp_path / "prepared")
    example = examples[b"im0002" if name == "lsp" else b"im00002"]
    assert example["visibility"][2] == 0 and not example["joints"][2].any()
    assert np.isfinite(example["joints"]).all()


@pytest.mark.parametrize("kind", ["transposed", "flat", "text", "complex", "cells", "7.3"])
def test_labels_of_another_type_or_shape_are_named(tmp_path, name, data_dir, kind):
    path = data_dir / name / "joints.mat"
    labels = scipy.io.loadmat(path)["joints"]
    cells = np.empty((2, 2), object)
    cells[:] = 1.0
    other = {
        "transposed": labels.T,
        "flat": labels.reshape(-1),
        "text": "joints",
        "complex": labels + 1j,
        "cells": cells,
    }
    if kind == "7.3":
        # The header of an HDF5 file by MATLAB.
        header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
        path.write_bytes(header.ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n")
    else:
        scipy.io.savemat(path, {"joints": other[kind]})
    expected = "MATLAB 7.3.*-v7" if kind == "7.3" else "has shape .*, expected"
    with pytest.raises(ValueError, match=expected) as caught:
        datasets.load(name, "train", data_dir, tmp_path / "prepared")
    assert "joints.mat" in str(caught.value) and "\n" not in str(caught.value)


def test_more_pictures_than_labels_raise(tmp_path, name, data_dir):
    first = sorted((data_dir / name / "images").iterdir())[0]
    shutil.copy(first, first.with_name("im09999.jpg"))
    with pytest.raises(FileNotFoundError, match=r"holds \d \.jpg files, but .* labels \d"):
        datasets.load(name, "train", data_dir, tmp_path / "prepared")


@pytest.mark.parametrize("content", ["truncated", "no labels"])
def test_broken_zip_is_named(tmp_path, name, data_dir, content):
    archive = data_dir / f"{name}_dataset.zip"
    if content == "no labels":
        (data_dir / name / "joints.mat").unlink()
    _write_zip(data_dir / name, archive)
    shutil.rmtree(data_dir / name)
    if content == "truncated":
        archive.write_bytes(archive.read_bytes()[:-500])
    message = "is not a complete zip file" if content == "truncated" else "holds no joints.mat"
    with pytest.raises(ValueError, match=rf"{archive.name} {message}"):
        datasets.load(name, "train", data_dir, tmp_path / "prepared")


# The photographs are not part of the project. These tests run if a checkout has them beside it.
_PHOTOGRAPHS = DATA_DIR


def _read_last_photograph(root, count, digits):
    pictures = official_files.PictureFolder(leeds_sports.picture_folder(root))
    leeds_sports.check_image_count(root, pictures, count)
    name = leeds_sports.image_names(pictures, count, digits)[-1]
    image = leeds_sports.read_picture(root, pictures, name, count)
    assert image.read().startswith(b"\xff\xd8")


@pytest.mark.skipif(not (_PHOTOGRAPHS / "lsp").exists(), reason="needs the photographs of lsp")
def test_photographs_of_lsp():
    labels = leeds_sports.read_labels(_PHOTOGRAPHS / "lsp", (3, 14, None))
    assert labels.shape == (3, 14, 2000)
    assert 0.05 < labels[2].mean() < 0.1  # Few joints are occluded.
    assert (labels[:2] > 0).all()  # All are labelled.
    _read_last_photograph(_PHOTOGRAPHS / "lsp", 2000, 4)


@pytest.mark.skipif(not (_PHOTOGRAPHS / "lspet").exists(), reason="needs the photographs of lspet")
def test_photographs_of_lspet():
    labels = leeds_sports.read_labels(_PHOTOGRAPHS / "lspet", (14, 3, None))
    assert 0.9 < labels[:, 2].mean() < 1  # Most joints are labelled.
    assert (labels[:, :2] == 0).all(1)[labels[:, 2] == 0].all()
    _read_last_photograph(_PHOTOGRAPHS / "lspet", labels.shape[2], 5)
