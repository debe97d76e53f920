"""Tests of the `mpii` builder."""

import shutil

import numpy as np
import pytest
import scipy.io
import tensorflow_datasets as tfds
from etils import epath
from PIL import Image

from examples.pose.datasets.mpii import annotations, mpii_dataset_builder
from examples.pose.datasets.skeletons import MPII_SKELETON, Skeleton

_DUMMY_DATA = epath.Path(mpii_dataset_builder.__file__).parent / "dummy_data"
_LABELS = _DUMMY_DATA / "mpii" / "mpii_human_pose_v1_u12_1.mat"


class MpiiTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = mpii_dataset_builder.Builder
    SPLITS = {"train": 4, "validation": 1, "test": 2}
    SKIP_CHECKSUMS = True  # None of the official files has been verified.


@pytest.fixture(scope="module")
def builder(prepare):
    return prepare(mpii_dataset_builder.Builder, _DUMMY_DATA)


def _examples(builder, split):
    examples = tfds.as_numpy(builder.as_dataset(split=split))
    return {(int(e["person"]["image_id"]), int(e["person"]["person_id"])): e for e in examples}


def _rectangle(image, person):
    """An `annorect`, read without `squeeze_me`, independently of `annotations`."""
    release = scipy.io.loadmat(_LABELS)["RELEASE"][0, 0]
    return release["annolist"][0, image - 1]["annorect"][0, person - 1]


def test_people_and_splits(builder):
    assert set(_examples(builder, "train")) == {(1, 1), (2, 1), (2, 2), (3, 1)}
    assert set(_examples(builder, "validation")) == {(5, 1)}
    assert set(_examples(builder, "test")) == {(6, 1), (6, 2)}


@pytest.mark.parametrize("key", [(1, 1), (2, 1), (2, 2), (3, 1)])
def test_labels_follow_the_file(builder, key):
    example, rectangle = _examples(builder, "train")[key], _rectangle(*key)
    origin = example["person"]["origin"]
    labelled = np.zeros(16, bool)
    for point in rectangle["annopoints"][0, 0]["point"][0]:
        joint = int(point["id"][0, 0])
        labelled[joint] = True
        position = [point["x"][0, 0] - 1, point["y"][0, 0] - 1]  # 1-based in the file.
        np.testing.assert_allclose(example["joints"][joint] + origin, position, atol=1e-4)
        flag = point["is_visible"] if "is_visible" in point.dtype.names else np.zeros(0)
        visible = bool(int(np.ravel(flag)[0])) if flag.size else True
        assert example["visibility"][joint] == (2 if visible else 1)
    np.testing.assert_array_equal(example["visibility"] > 0, labelled)
    assert not example["joints"][~labelled].any()
    head = [rectangle[name][0, 0] - 1 for name in ("x1", "y1", "x2", "y2")]
    np.testing.assert_allclose(example["person"]["head_box"] + [*origin, *origin], head, atol=1e-4)
    objpos = rectangle["objpos"][0, 0]
    centre = [objpos["x"][0, 0] - 1, objpos["y"][0, 0] - 1]
    np.testing.assert_allclose(example["person"]["centre"] + origin, centre, atol=1e-4)
    assert example["person"]["scale"] == np.float32(rectangle["scale"][0, 0])


def test_dummy_data_has_flags_of_every_kind():
    """The test above relies on it."""
    points = _rectangle(2, 1)["annopoints"][0, 0]["point"][0]
    kinds = {np.ravel(p["is_visible"]).dtype.kind for p in points if p["is_visible"].size}
    assert kinds == {"U", "i"}
    assert any(not p["is_visible"].size for p in points)
    assert any(p["is_visible"].size and not int(np.ravel(p["is_visible"])[0]) for p in points)
    assert _rectangle(3, 1)["annopoints"][0, 0]["point"].shape == (1, 1)  # A single point.
    assert not _rectangle(3, 2)["annopoints"].size


def test_single_people(builder):
    examples = _examples(builder, "train") | _examples(builder, "test")
    single = {key for key, example in examples.items() if example["person"]["is_single"]}
    assert single == {(1, 1), (2, 2), (6, 1), (6, 2)}


def test_images_are_crops_of_the_photographs(builder):
    examples = _examples(builder, "train") | _examples(builder, "test")
    for (number, _), example in examples.items():
        assert example["id"].decode() == f"{number:09d}"
        frame = tfds.core.lazy_imports.PIL_Image.open(
            _DUMMY_DATA / "mpii" / "images" / f"{number:09d}.jpg"
        )
        x, y = example["person"]["origin"].astype(int)
        height, width = example["image"].shape[:2]
        part = np.asarray(frame)[y : y + height, x : x + width].astype(float)
        assert part.shape == example["image"].shape
        assert np.abs(part - example["image"]).mean() < 6  # It was compressed once more.
        # The person is 64 pixels high, and the crop is 1.25 times as large.
        assert min(64, frame.height) <= height and width <= 80 + 1


def test_people_of_the_test_split_have_no_labels(builder):
    for example in _examples(builder, "test").values():
        assert not example["visibility"].any() and not example["joints"].any()
        assert not example["person"]["head_box"].any()
        assert example["person"]["scale"] > 0


def test_metadata_is_the_skeleton(builder):
    assert Skeleton.from_metadata(builder.info.metadata) == MPII_SKELETON


def _write(path, release):
    scipy.io.savemat(path, {"RELEASE": release})
    return epath.Path(path)


def test_file_with_one_image_and_one_person(tmp_path):
    """`squeeze_me` removes every axis of such a file."""
    release = {
        "annolist": {
            "image": {"name": "a.jpg"},
            "annorect": {
                "scale": 2.0,
                "objpos": {"x": 11.0, "y": 21.0},
                "annopoints": {"point": {"x": 5.0, "y": 6.0, "id": 9.0, "is_visible": "0"}},
            },
        },
        "img_train": 1.0,
        "single_person": np.array([[1.0]]),
    }
    (photograph,) = annotations.read(_write(tmp_path / "one.mat", release))
    (person,) = photograph.people
    assert photograph.name == "a.jpg" and photograph.is_train and photograph.video == 0
    assert person.is_single and person.scale == 2 and person.centre.tolist() == [10, 20]
    assert person.joints[9].tolist() == [4, 5] and person.visibility[9] == 1
    assert person.visibility.sum() == 1 and not person.head_box.any()


def test_file_of_another_format_raises(tmp_path):
    (tmp_path / "text.mat").write_text("no MATLAB file")
    with pytest.raises(ValueError, match=r"text\.mat is not the MATLAB file"):
        annotations.read(epath.Path(tmp_path / "text.mat"))
    scipy.io.savemat(tmp_path / "other.mat", {"joints": np.zeros(3)})
    with pytest.raises(ValueError, match=r"other\.mat is not the MATLAB file"):
        annotations.read(epath.Path(tmp_path / "other.mat"))
    release = {"annolist": {"image": {"name": "a.jpg"}}, "img_train": [1.0, 0.0]}
    with pytest.raises(ValueError, match="2 entries for 1 images"):
        annotations.read(_write(tmp_path / "short.mat", {**release, "single_person": 1.0}))


def _person(**changes):
    return {
        "scale": 2.0,
        "objpos": {"x": 11.0, "y": 21.0},
        "annopoints": {"point": {"x": 5.0, "y": 6.0, "id": 9.0, "is_visible": "0"}},
        **changes,
    }


def _release(*people, name="a.jpg"):
    records = np.empty(len(people), object)
    records[:] = [{"image": {"name": name}, "annorect": person} for person in people]
    return {
        "annolist": records if len(people) > 1 else records[0],
        "img_train": np.ones(len(people)),
        "single_person": np.ones((len(people), 1)),
    }


@pytest.mark.parametrize("release,message", [
    (_release(_person(scale="tall")), r"image 1 \(a\.jpg\).*`scale` must be a number, got 'tall'"),
    (_release(_person(x1="left")), r"image 1 \(a\.jpg\).*`x1` must be a number"),
    (_release(_person(annopoints={"point": {"x": 1.0, "y": "?", "id": 1.0}})), "`y` must be"),
    (_release(_person(annopoints={"point": {"x": 1e18, "y": 5.0, "id": 1.0}})), "`x` and `y` of a"),
    (_release(_person(objpos={"x": 5.0, "y": -1e300})), r"are 5 and -1e\+300"),
    (_release(_person(), _person()), r"image 2 \(a\.jpg\).*it is also image 1"),
    (_release(_person(), name=3.0), r"image 1 \(3\.0\)"),
])  # fmt: skip
def test_invalid_labels_are_named(tmp_path, release, message):
    with pytest.raises(ValueError, match=message) as caught:
        annotations.read(_write(tmp_path / "labels.mat", release))
    assert "labels.mat" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_missing(tmp_path, value):
    points = {"point": {"x": value, "y": 6.0, "id": 9.0}}
    head = dict.fromkeys(("x1", "y1", "x2", "y2"), value)
    people = [_person(annopoints=points, **head), _person(scale=value)]
    for person in people:
        (photograph,) = annotations.read(_write(tmp_path / "labels.mat", _release(person)))
        (found,) = photograph.people
        assert np.isfinite(found.joints).all() and not found.head_box.any()
        assert found.scale in (0, 2)
    assert found.scale == 0


def test_people_outside_the_image_are_named(tmp_path):
    Image.new("RGB", (40, 40)).save(tmp_path / "a.jpg")
    (tmp_path / "images").mkdir()
    (tmp_path / "a.jpg").rename(tmp_path / "images" / "a.jpg")
    release = _release(_person(scale=0.1, objpos={"x": 500.0, "y": 500.0}))
    _write(tmp_path / "mpii_human_pose_v1_u12_1.mat", release)
    builder = mpii_dataset_builder.Builder(data_dir=tmp_path / "prepared")
    builder.wanted = ["validation"]
    with pytest.raises(ValueError, match=r"person 1 of image 1 \(a\.jpg\) is outside"):
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(manual_dir=tmp_path)
        )


def test_missing_image_is_named(tmp_path):
    shutil.copytree(_DUMMY_DATA, tmp_path / "data")
    (tmp_path / "data" / "mpii" / "images" / "000000002.jpg").unlink()
    builder = mpii_dataset_builder.Builder(data_dir=tmp_path / "prepared")
    with pytest.raises(FileNotFoundError, match=r"000000002\.jpg is missing"):
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(manual_dir=tmp_path / "data")
        )


if __name__ == "__main__":
    tfds.testing.test_main()
