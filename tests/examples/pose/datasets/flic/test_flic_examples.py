"""Tests of `flic`: the builder of `tfds` on drawn frames, and the conversion of its examples."""

import io
import time

import numpy as np
import pytest
import requests
import scipy.io
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from examples.pose import datasets
from examples.pose.datasets.flic import flic_examples
from examples.pose.datasets.pose_features import pose_features
from examples.pose.datasets.skeletons import FLIC_SKELETON

# Indices of the labelled joints in the file. The other 18 of 29 joints are NaN.
_NAMES = {
    0: "left_shoulder",
    1: "left_elbow",
    2: "left_wrist",
    3: "right_shoulder",
    4: "right_elbow",
    5: "right_wrist",
    6: "left_hip",
    9: "right_hip",
    12: "left_eye",
    13: "right_eye",
    16: "nose",
}


def _frame(seed):
    """A frame of 480 x 720 pixels with a white dot at each joint, and the joints from 1."""
    rng = np.random.default_rng(seed)
    joints = np.full((2, 29), np.nan)
    image = np.zeros((480, 720, 3), np.uint8)
    for index in _NAMES:
        x, y = rng.integers(300, 420), rng.integers(180, 300)
        image[y - 1 : y + 2, x - 1 : x + 2] = 255
        joints[:, index] = x + 1, y + 1
    return image, joints


def write_official(root):
    """Writes the unpacked official archive, with two training frames and one for testing."""
    fields = ["poselet_hit_idx", "moviename", "coords", "filepath", "imgdims", "currframe"]
    fields += ["torsobox", "istrain", "istest"]
    examples = np.empty((1, 3), dtype=[(field, object) for field in fields])
    for i in range(3):
        image, joints = _frame(i)
        if i == 1:
            joints[:, 2] = np.nan  # A left wrist that is not labelled.
        name = f"a-film-{i + 40:08d}.jpg"
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=95)
        (root / "FLIC" / "images").mkdir(parents=True, exist_ok=True)
        (root / "FLIC" / "images" / name).write_bytes(file.getvalue())
        box = np.array([[300.0, 180.0, 420.0, 300.0]])
        values = [np.array([[1.0, 2.0]]), "a-film", joints, name, np.array([[480.0, 720.0]])]
        values += [float(i + 40), box, float(i < 2), float(i == 2)]
        for field, value in zip(fields, values, strict=True):
            examples[0, i][field] = value
    scipy.io.savemat(root / "FLIC" / "examples.mat", {"examples": examples})


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    root = tmp_path_factory.mktemp("flic")
    write_official(root)
    return root


@pytest.fixture
def load(official, tmp_path, monkeypatch):
    manager = tfds.download.DownloadManager
    monkeypatch.setattr(manager, "download_and_extract", lambda self, url: str(official))
    return lambda name, split: datasets.load(name, split, None, tmp_path)


def test_examples_follow_the_file(load):
    dataset, skeleton = load("flic", "train")
    assert skeleton == FLIC_SKELETON
    spec = pose_features(FLIC_SKELETON, ("origin", "box")).get_tensor_spec()
    for name, feature in spec.items():
        got = tf.nest.flatten(dataset.element_spec[name])
        for a, b in zip(got, tf.nest.flatten(feature), strict=True):
            assert a.dtype == b.dtype and a.shape.is_compatible_with(b.shape)
    examples = {e["id"].decode(): e for e in dataset.as_numpy_iterator()}
    assert set(examples) == {"a-film-00000040", "a-film-00000041"}
    for i, example in enumerate(examples[name] for name in sorted(examples)):
        _, joints = _frame(i)
        for index, name in _NAMES.items():
            joint = skeleton.joint_names.index(name)
            if i == 1 and name == "left_wrist":
                assert example["visibility"][joint] == 0 and not example["joints"][joint].any()
                continue
            assert example["visibility"][joint] == 2
            found = example["joints"][joint] + example["person"]["origin"]
            np.testing.assert_allclose(found, joints[:, index] - 1, atol=1e-3)
            # The crop shows the white dot at the joint.
            x, y = example["joints"][joint].astype(int)
            assert example["image"][y, x].min() > 180


def test_frames_are_cropped_around_the_torso(load):
    dataset, _ = load("flic", "test")
    (example,) = dataset.as_numpy_iterator()
    # Three times the torso's box of 120 x 120 pixels, around its centre (360, 240).
    assert example["image"].shape == (360, 360, 3)
    np.testing.assert_array_equal(example["person"]["origin"], [180, 60])
    np.testing.assert_allclose(example["person"]["box"], [120, 120, 240, 240], atol=1e-3)


def test_image_names(load):
    for name in ("flic/small", "flic"):
        assert len(list(load(name, "train")[0])) == 2
    assert {"flic", "flic/small", "flic/full"} <= set(datasets.NAMES)


@pytest.mark.usefixtures("no_network")
def test_missing_network_gives_a_one_line_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"'flic' was not found.*FLIC\.zip") as caught:
        datasets.load("flic", "train", None, tmp_path)
    assert "no network in tests" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("content", [b"", b"<html>Too many downloads</html>", b"PK\3\4 cut off"])
def test_broken_archive_gives_a_one_line_error(tmp_path, content):
    (tmp_path / "FLIC.zip").write_bytes(content)
    with pytest.raises(ValueError, match=r"FLIC\.zip is not the complete official") as caught:
        datasets.load("flic", "train", tmp_path, tmp_path / "prepared")
    assert "\n" not in str(caught.value)


def test_missing_server_is_tried_twice():
    """By default, tfds retries for minutes."""
    start = time.monotonic()
    with flic_examples._few_retries(), pytest.raises(requests.ConnectionError):
        requests.get("http://localhost:9/", timeout=1)
    assert time.monotonic() - start < 10
    # Afterwards, sessions have their own number of retries again.
    session = requests.Session()
    session.mount("http://", requests.adapters.HTTPAdapter(max_retries=2))
    with pytest.raises(requests.ConnectionError):
        session.get("http://localhost:9/", timeout=1)
    assert session.get_adapter("http://localhost:9/").max_retries.total == 2
