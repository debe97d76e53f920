"""Tests of COCO-style files as labelling tools write them: read as meant, or told in one line."""

import copy
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from examples.pose import datasets
from examples.pose.datasets import COCO_SKELETON

_NAMES = list(COCO_SKELETON.joint_names)
_SIZE = (100, 80)
# Joints on a grid from (30, 20) to (54, 60), all visible but the last three.
_PLACES = [(30 + 6 * (i % 5), 20 + 10 * (i // 5)) for i in range(14)]
_KEYPOINTS = [v for place in _PLACES for v in (*place, 2)] + [0] * 9
_PERSON = {
    "id": 5,
    "image_id": 1,
    "category_id": 1,
    "bbox": [25, 15, 40, 50],
    "area": 1000.5,
    "iscrowd": 0,
    "num_keypoints": 14,
    "keypoints": _KEYPOINTS,
}


class _Missing:
    """Stands for a field that the record lacks. Its `repr` is the same in every process."""

    def __repr__(self):
        return "missing"


_MISSING = _Missing()
_NAN = float("nan")


def _content(**changes):
    """A file with one person, whose fields are changed, or removed if `_MISSING`."""
    person = {k: v for k, v in {**_PERSON, **changes}.items() if v is not _MISSING}
    return {
        "images": [{"id": 1, "file_name": "a.jpg", "width": _SIZE[0], "height": _SIZE[1]}],
        "annotations": [copy.deepcopy(person)],
        "categories": [{"id": 1, "name": "person", "keypoints": list(_NAMES)}],
    }


def _joint(index, *values):
    """The keypoints with other values for one joint."""
    return _KEYPOINTS[: 3 * index] + list(values) + _KEYPOINTS[3 * index + 3 :]


@pytest.fixture
def data_dir(tmp_path):
    """A folder with the validation half of the data set only."""
    (tmp_path / "data" / "annotations").mkdir(parents=True)
    (tmp_path / "data" / "val2017").mkdir()
    _write_picture(tmp_path / "data" / "val2017" / "a.jpg")
    return tmp_path / "data"


def _write_picture(path, size=_SIZE, seed=0):
    path.parent.mkdir(exist_ok=True, parents=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def _load(data_dir, content, **options):
    path = data_dir / "annotations" / "person_keypoints_val2017.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    prepared = data_dir.parent / "prepared"
    dataset, _ = datasets.load("coco_keypoints", "validation", data_dir, prepared, **options)
    return sorted(dataset.as_numpy_iterator(), key=lambda e: e["person"]["person_id"])


def _refusal(data_dir, content):
    """The message that a file is refused with, which is one line."""
    with pytest.raises(ValueError) as caught:
        _load(data_dir, content)
    assert type(caught.value) is ValueError  # The commands show no traceback then.
    message = str(caught.value)
    assert "person_keypoints_val2017.json" in message
    assert "\n" not in message and len(message) < 1000
    return message


def _places(example):
    """Where the joints are in the photograph."""
    return example["joints"] + example["person"]["origin"]


@pytest.mark.parametrize("box", [
    _MISSING, None, [], [0, 0, 0, 0], [1, 2, 3], [30, 20, -24, -20], [30, 20, 24, 0], "box", {},
    [None] * 4, ["30", "20", "24", "20"], [_NAN, 20, 24, 20], [200, 20, 24, 20], [-90, 20, 24, 20],
    [0.3, 0.25, 0.24, 0.25], [70, 50, 10, 10], [30, 20, 1, 1], [1e400, 0, 1, 1],
], ids=str)  # fmt: skip
def test_a_degenerate_box_comes_from_the_joints(data_dir, box):
    (example,) = _load(data_dir, _content(bbox=box))
    low, high = example["person"]["box"].reshape(2, 2) + example["person"]["origin"]
    # The joints span 24 x 20 pixels, which gives a margin of 3.6.
    np.testing.assert_allclose([low, high], [[26.4, 16.4], [57.6, 43.6]], atol=1e-3)
    assert example["image"].shape[0] > 27 and example["image"].shape[1] > 31
    np.testing.assert_allclose(_places(example)[:14], _PLACES, atol=1e-3)


@pytest.mark.parametrize("box", [[-5, 15, 70, 50], [25, 15, 200, 200], [25.5, 15.5, 30, 30]])
def test_a_box_that_overlaps_the_picture_stays(data_dir, box):
    (example,) = _load(data_dir, _content(bbox=box))
    found = example["person"]["box"] + np.tile(example["person"]["origin"], 2)
    np.testing.assert_allclose(found, [*box[:2], box[0] + box[2], box[1] + box[3]], atol=1e-3)


@pytest.mark.parametrize("area", [_MISSING, None, 0, -3, _NAN, float("inf"), "12", [], True])
def test_a_missing_area_comes_from_the_box(data_dir, area):
    (example,) = _load(data_dir, _content(area=area))
    assert example["person"]["area"] == 40 * 50


@pytest.mark.parametrize("field", ["num_keypoints", "iscrowd", "id", "segmentation"])
@pytest.mark.parametrize("value", [_MISSING, None])
def test_fields_that_can_be_filled_in(data_dir, field, value):
    (example,) = _load(data_dir, _content(**{field: value}))
    assert (example["visibility"] == 2).sum() == 14
    assert not example["person"]["is_crowd"]
    assert example["person"]["person_id"] == (5 if field != "id" else 1)
    assert example["person"]["area"] == 1000.5


def test_the_least_that_a_record_can_hold(data_dir):
    content = _content()
    content["annotations"] = [{"image_id": 1, "keypoints": _KEYPOINTS}]
    content["images"] = [{"id": 1, "file_name": "a.jpg"}]
    del content["categories"]
    (example,) = _load(data_dir, content)
    np.testing.assert_allclose(_places(example)[:14], _PLACES, atol=1e-3)


@pytest.mark.parametrize("category_id", [_MISSING, None, 1, "1", 1.0])
@pytest.mark.parametrize("named", [True, False])
def test_the_only_category_is_meant(data_dir, category_id, named):
    content = _content(category_id=category_id)
    if not named:
        del content["categories"][0]["keypoints"]
    assert len(_load(data_dir, content)) == 1


def test_run_length_masks_and_crowds(data_dir):
    mask = {"counts": [10, 5, 7], "size": [80, 100]}
    for crowd in (1, True, 1.0):
        (example,) = _load(data_dir, _content(segmentation=mask, iscrowd=crowd, id=_MISSING))
        assert example["person"]["is_crowd"]
        _forget(data_dir)


def _forget(data_dir):
    """Removes the prepared records."""
    shutil.rmtree(data_dir.parent / "prepared")


def test_missing_ids_are_numbered_around_those_that_are_there(data_dir):
    content = _content()
    for number in (None, 1, 0, -7, "12", 3.0):
        content["annotations"].append({**_PERSON, "id": number})
    ids = [int(e["person"]["person_id"]) for e in _load(data_dir, content)]
    assert ids == [-7, 0, 1, 2, 3, 5, 12]


@pytest.mark.parametrize("flag,expected", [
    (2, 2), (1, 1), (0, 0), (2.0, 2), (1.0, 1), (True, 2), (False, 1),
])  # fmt: skip
def test_visibility_of_any_type(data_dir, flag, expected):
    (example,) = _load(data_dir, _content(keypoints=_joint(3, *_PLACES[3], flag)))
    assert example["visibility"][3] == expected
    np.testing.assert_allclose(_places(example)[3] if expected else [48, 20], _PLACES[3])


@pytest.mark.parametrize("values", [
    (None, None, 0), (_NAN, _NAN, 0), (None, None, None), (0, 0, None), (0, 0, False), ("", "", 0),
], ids=str)  # fmt: skip
def test_joints_without_a_place_are_unlabelled(data_dir, values):
    (example,) = _load(data_dir, _content(keypoints=_joint(3, *values)))
    assert example["visibility"].tolist() == [2, 2, 2, 0] + [2] * 10 + [0] * 3
    assert not example["joints"][3].any()


def test_nested_keypoints(data_dir):
    nested = np.reshape(_KEYPOINTS, (17, 3)).tolist()
    (example,) = _load(data_dir, _content(keypoints=nested))
    np.testing.assert_allclose(_places(example)[:14], _PLACES, atol=1e-3)


def test_joints_outside_the_picture_are_unlabelled(data_dir):
    (example,) = _load(data_dir, _content(keypoints=_joint(3, 300, 20, 2)))
    assert example["visibility"][3] == 0 and (example["visibility"] == 2).sum() == 13


@pytest.mark.parametrize("changes,field", [
    ({"keypoints": _joint(3, 48, 20, 3)}, "`keypoints` has the visibility 3 for joint 3"),
    ({"keypoints": _joint(3, 48, 20, -1)}, "`keypoints` has the visibility -1"),
    ({"keypoints": _joint(3, 48, 20, 258)}, "`keypoints` has the visibility 258"),
    ({"keypoints": _joint(3, 48, 20, 0.87)}, "`keypoints` has the visibility 0.87"),
    ({"keypoints": _joint(3, 48, 20, "2")}, "`keypoints` has the visibility '2'"),
    ({"keypoints": _joint(3, 48, 20, None)}, "`keypoints` has the visibility None"),
    ({"keypoints": _joint(3, 48, 20, _NAN)}, "`keypoints` has the visibility nan"),
    ({"keypoints": _joint(3, None, 20, 2)}, "`keypoints` of joint 3 must be numbers"),
    ({"keypoints": _joint(3, "48", 20, 2)}, "`keypoints` of joint 3 must be numbers"),
    ({"keypoints": _joint(3, _NAN, 20, 2)}, "`keypoints` of joint 3 must be numbers"),
    ({"keypoints": _joint(3, 1e400, 20, 2)}, "`keypoints` of joint 3 must be numbers"),
    ({"keypoints": _joint(3, 10**400, 20, 2)}, "`keypoints` of joint 3 must be numbers"),
    ({"keypoints": _KEYPOINTS[:-1]}, "`keypoints` must hold .* of 17 joints, got 50 values"),
    ({"keypoints": _KEYPOINTS * 2}, "`keypoints` must hold .* got 102 values"),
    ({"keypoints": "1,2,3"}, "`keypoints` must hold"),
    ({"keypoints": {"nose": [1, 2]}}, "`keypoints` must hold"),
    ({"keypoints": _MISSING}, "`keypoints` must hold"),
    ({"keypoints": [500, 500, 2] * 17}, "`keypoints` are all outside"),
    ({"keypoints": [0.3, 0.4, 2] * 17, "bbox": None}, "`bbox` is None"),
    ({"keypoints": _KEYPOINTS[:3] + [0] * 48, "bbox": [9, 9]}, r"`bbox` is \[9, 9\]"),
    ({"image_id": 9}, "`image_id` is 9, which no image has"),
    ({"image_id": _MISSING}, "`image_id` must be an integer"),
    ({"image_id": None}, "`image_id` must be an integer"),
    ({"image_id": "a.jpg"}, "`image_id` must be an integer"),
    ({"image_id": 1.5}, "`image_id` must be an integer"),
    ({"id": "first"}, "`id` must be an integer"),
    ({"id": 2**63}, "`id` must be an integer"),
    ({"id": 2.0**53}, "`id` must be an integer"),
    ({"id": [1]}, "`id` must be an integer"),
    ({"iscrowd": 2}, "`iscrowd` must be 0 or 1"),
    ({"iscrowd": "0"}, "`iscrowd` must be 0 or 1"),
    ({"category_id": 7}, "`category_id` is 7, which no category has"),
], ids=str)  # fmt: skip
def test_what_has_no_meaning_is_told_by_file_record_and_field(data_dir, changes, field):
    message = _refusal(data_dir, _content(**changes))
    assert "annotations[0]" in message
    assert "(id " in message
    assert re.search(field, message), message


@pytest.mark.parametrize("image,field", [
    ({"file_name": "a.jpg"}, "`id` must be an integer"),
    ({"id": None, "file_name": "a.jpg"}, "`id` must be an integer"),
    ({"id": 1}, "`file_name` must be a name"),
    ({"id": 1, "file_name": 7}, "`file_name` must be a name"),
    ({"id": 1, "file_name": ""}, "`file_name` must be a name"),
    ({"id": 1, "file_name": "a.jpg", "width": 640, "height": 480}, "640 x 480, but a.jpg has 100"),
    ("a.jpg", "must be an object"),
], ids=str)  # fmt: skip
def test_images_without_meaning_are_told(data_dir, image, field):
    content = {**_content(), "images": [image]}
    with pytest.raises(ValueError, match="images") as caught:
        _load(data_dir, content)
    assert field in str(caught.value)
    assert "images[0]" in str(caught.value)


def test_ids_that_are_there_twice_are_told(data_dir):
    content = _content()
    content["annotations"] += [{**_PERSON, "id": 6}, _PERSON]
    assert "annotations[2] (id 5): `id` 5 is also that of annotations[0]" in _refusal(
        data_dir, content
    )
    content = _content()
    content["images"].append({"id": 1, "file_name": "b.jpg"})
    assert "images[1] (id 1): `id` 1 is also that of images[0]" in _refusal(data_dir, content)
    # The same record twice says the same.
    content["images"][1] = content["images"][0]
    assert len(_load(data_dir, content)) == 1


@pytest.mark.parametrize("content", [
    b"", b"no JSON", b"[1, 2]", b"null", b'{"images": []}', b'{"images": {}, "annotations": []}',
    json.dumps(_content()).encode()[:-40], '{"images": "\xe9"}'.encode("latin-1"), b"[" * 100000,
    b"\x89PNG\r\n\x1a\n\x00",
], ids=lambda c: repr(c[:30]))  # fmt: skip
def test_what_is_no_such_file_is_refused(data_dir, content):
    assert "is not COCO's JSON file of person keypoints" in _refusal(data_dir, content)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_and_names_in_other_scripts(data_dir, encoding):
    content = _content()
    content["images"][0]["file_name"] = "прыжок é.jpg"
    _write_picture(data_dir / "val2017" / "прыжок é.jpg")  # As macOS writes accents.
    text = json.dumps(content, ensure_ascii=False)
    (example,) = _load(data_dir, text.encode(encoding))
    assert example["id"].decode() == "прыжок é"


@pytest.mark.parametrize("name,place", [
    ("sub/a1.jpg", "sub/a1.jpg"),
    ("sub\\a1.jpg", "sub/a1.jpg"),
    ("./sub//a1.jpg", "sub/a1.jpg"),
    ("val2017/a1.jpg", "a1.jpg"),
    ("/home/me/pictures/a1.jpg", "a1.jpg"),
    ("C:\\pictures\\a1.jpg", "a1.jpg"),
    ("../pictures/a1.jpg", "a1.jpg"),
    ("https://example.com/x/a%20b.jpg?size=3", "a b.jpg"),
    ("a1.jpg", "a1.JPG"),
    ("a1.jpg", "a1.jpeg"),
    ("a1", "a1.png"),
    ("A1.png", "a1.jpg"),
], ids=str)  # fmt: skip
def test_names_as_tools_write_them(data_dir, name, place):
    content = _content()
    content["images"][0]["file_name"] = name
    (data_dir / "val2017" / "a.jpg").unlink()
    _write_picture(data_dir / "val2017" / place)
    assert len(_load(data_dir, content)) == 1


def test_no_picture_stands_for_another(data_dir):
    """Names that are the same but for case, suffix or folder, of which one file is missing."""
    for first, second in (("a.jpg", "A.jpg"), ("a.jpg", "a.png"), ("a.jpg", "x/a.jpg")):
        content = _content()
        content["images"].append({**content["images"][0], "id": 2, "file_name": second})
        content["annotations"].append({**_PERSON, "id": 6, "image_id": 2})
        with pytest.raises(FileNotFoundError, match=f"{second} is missing"):
            _load(data_dir, content)
        assert (data_dir / "val2017" / first).exists()
    content["images"][0]["file_name"], content["images"][1]["file_name"] = "/x/a.jpg", "/y/a.jpg"
    assert "`file_name` /y/a.jpg and /x/a.jpg" in _refusal(data_dir, content)


def test_the_address_stands_in_for_a_missing_name(data_dir):
    content = _content()
    content["images"] = [{"id": 1, "coco_url": "http://images.cocodataset.org/val2017/a.jpg"}]
    assert len(_load(data_dir, content)) == 1


def test_joints_go_by_the_names_of_the_category(data_dir, capsys):
    order = np.random.default_rng(0).permutation(17)
    spelt = [_NAMES[i].title().replace("_", " ") for i in order]
    spelt[0] = f"{spelt[0].split()[-1]}_{spelt[0].split()[0]}" if " " in spelt[0] else spelt[0]
    content = _content(keypoints=np.reshape(_KEYPOINTS, (17, 3))[order].ravel().tolist())
    content["categories"][0] = {"id": 1, "name": "athlete", "keypoints": spelt}
    (example,) = _load(data_dir, content)
    np.testing.assert_allclose(_places(example)[:14], _PLACES, atol=1e-3)
    assert "note" not in capsys.readouterr().err


def test_joints_that_are_not_cocos_are_left_out_and_named(data_dir, capsys):
    content = _content(keypoints=[1, 2, 2, *_KEYPOINTS[:9]])
    content["categories"][0]["keypoints"] = ["neck", "nose", "leftEye", "r_eye"]
    (example,) = _load(data_dir, content)
    assert example["visibility"].tolist() == [2] * 3 + [0] * 14
    np.testing.assert_allclose(_places(example)[:3], _PLACES[:3], atol=1e-3)
    said = capsys.readouterr().err
    assert "neck, which are left out" in said and "lacks left_ear" in said


@pytest.mark.parametrize("keypoints,said", [
    (["thumb", "palm"], "'person' has thumb, palm"),
    (["nose", "Nose"], "'person' has a joint twice"),
    ("nose", "must be a list of names"),
    ([1, 2], "must be a list of names"),
])  # fmt: skip
def test_other_joints_are_refused(data_dir, keypoints, said):
    content = _content()
    content["categories"][0]["keypoints"] = keypoints
    assert said in _refusal(data_dir, content)


def test_other_things_than_people_are_left_out(data_dir):
    content = _content()
    content["categories"].append({"id": 2, "name": "ball"})
    content["annotations"] += [
        {"id": 6, "image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4]},
        {"id": 7, "image_id": 1, "category_id": 2, "keypoints": [1, 2, 2], "num_keypoints": 1},
        {"id": 8, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]},
        {"id": 9, "image_id": 1, "category_id": 1, "keypoints": [0] * 51},
    ]
    assert [e["person"]["person_id"] for e in _load(data_dir, content)] == [5]


def test_a_file_without_people_is_refused(data_dir):
    for content in ({**_content(), "annotations": []}, _content(keypoints=[0] * 51)):
        with pytest.raises(ValueError, match="split 'validation' of coco_keypoints is empty"):
            _load(data_dir, content)


def test_all_faults_are_named_at_once_and_can_be_left_out(data_dir, capsys):
    content = _content(iscrowd=7)
    content["images"] += [{"id": 2, "file_name": "gone.jpg"}, {"id": 3, "file_name": "cut.jpg"}]
    (data_dir / "val2017" / "cut.jpg").write_bytes(b"<html>")
    for number in (2, 3, 1):
        content["annotations"].append({**_PERSON, "id": 10 + number, "image_id": number})
    with pytest.raises(ValueError, match="3 files or records") as caught:
        _load(data_dir, content)
    for name in ("annotations[0]", "gone.jpg", "cut.jpg", "--skip_broken"):
        assert name in str(caught.value)
    (example,) = _load(data_dir, content, skip_broken=True)
    assert example["person"]["person_id"] == 11
    assert "without 3 broken files or records" in capsys.readouterr().err
