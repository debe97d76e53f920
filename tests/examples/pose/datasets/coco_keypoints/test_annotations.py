"""Tests of COCO-style files by labelling tools: fields that are derived, and one-line errors."""

import json
import re

import numpy as np
import pytest

from examples.pose.datasets.coco_keypoints import annotations
from tests.examples.pose.datasets.coco_keypoints import small_labels as small


@pytest.mark.parametrize("box", [
    small.MISSING, None, [], [0, 0, 0, 0], [1, 2, 3], [30, 20, -24, -20], [30, 20, 24, 0], "box",
    {}, [None] * 4, ["30", "20", "24", "20"], [small.NAN, 20, 24, 20], [200, 20, 24, 20],
    [-90, 20, 24, 20], [0.3, 0.25, 0.24, 0.25], [70, 50, 10, 10], [30, 20, 1, 1], [1e400, 0, 1, 1],
], ids=str)  # fmt: skip
def test_degenerate_box_is_derived_from_joints(data_dir, box):
    (example,) = small.load(data_dir, small.content(bbox=box))
    low, high = example["person"]["box"].reshape(2, 2) + example["person"]["origin"]
    # The joints span 24 x 20 pixels, so the margin is 0.15 * 24 = 3.6.
    np.testing.assert_allclose([low, high], [[26.4, 16.4], [57.6, 43.6]], atol=1e-3)
    assert example["image"].shape[0] > 27 and example["image"].shape[1] > 31
    np.testing.assert_allclose(small.positions_of(example)[:14], small.POSITIONS, atol=1e-3)


@pytest.mark.parametrize("box", [[-5, 15, 70, 50], [25, 15, 200, 200], [25.5, 15.5, 30, 30]])
def test_box_that_overlaps_the_picture_is_kept(data_dir, box):
    (example,) = small.load(data_dir, small.content(bbox=box))
    found = example["person"]["box"] + np.tile(example["person"]["origin"], 2)
    np.testing.assert_allclose(found, [*box[:2], box[0] + box[2], box[1] + box[3]], atol=1e-3)


@pytest.mark.parametrize("area", [
    small.MISSING, None, 0, -3, small.NAN, float("inf"), "12", [], True, 0.125, 8001, 1e12,
], ids=str)  # fmt: skip
def test_missing_area_is_derived_from_the_box(data_dir, area):
    (example,) = small.load(data_dir, small.content(area=area))
    assert example["person"]["area"] == 40 * 50


@pytest.mark.parametrize("field", ["num_keypoints", "iscrowd", "id", "segmentation"])
@pytest.mark.parametrize("value", [small.MISSING, None])
def test_missing_fields_are_filled_in(data_dir, field, value):
    (example,) = small.load(data_dir, small.content(**{field: value}))
    assert (example["visibility"] == 2).sum() == 14
    assert not example["person"]["is_crowd"]
    assert example["person"]["person_id"] == (5 if field != "id" else 1)
    assert example["person"]["area"] == 1000.5


def test_minimal_record(data_dir):
    content = small.content()
    content["annotations"] = [{"image_id": 1, "keypoints": small.KEYPOINTS}]
    content["images"] = [{"id": 1, "file_name": "a.jpg"}]
    del content["categories"]
    (example,) = small.load(data_dir, content)
    np.testing.assert_allclose(small.positions_of(example)[:14], small.POSITIONS, atol=1e-3)


@pytest.mark.parametrize("category_id", [small.MISSING, None, 1, "1", 1.0])
@pytest.mark.parametrize("named", [True, False])
def test_missing_category_id_means_the_only_category(data_dir, category_id, named):
    content = small.content(category_id=category_id)
    if not named:
        del content["categories"][0]["keypoints"]
    assert len(small.load(data_dir, content)) == 1


@pytest.mark.parametrize("box,visible", [
    ([25, 15, 40, 50], False), ([0, 0, 0, 0], False), ([0, 0, 60, 70], True), (None, False),
], ids=str)  # fmt: skip
@pytest.mark.parametrize("flag", [1, 2])
def test_joint_at_the_origin_is_a_placeholder_unless_inside_the_box(data_dir, box, visible, flag):
    (example,) = small.load(data_dir, small.content(keypoints=small.joint(3, 0, 0, flag), bbox=box))
    assert example["visibility"][3] == (flag if visible else 0)
    assert (example["visibility"] > 0).sum() == 13 + visible
    small.forget(data_dir)
    keypoints = small.KEYPOINTS[:42] + [0, 0, flag] * 3
    (example,) = small.load(data_dir, small.content(keypoints=keypoints, bbox=box))
    assert (example["visibility"] > 0).sum() == 14


@pytest.mark.parametrize("box", [
    [-1e300, -1e300, 2e300, 2e300], [0, 0, 1e300, 1e300], [1e308] * 4, [-500, -500, 1000, 1000],
], ids=str)  # fmt: skip
def test_far_too_large_box_is_derived_from_joints(data_dir, box):
    (example,) = small.load(data_dir, small.content(bbox=box, area=None))
    assert np.isfinite(example["person"]["box"]).all()
    assert example["person"]["area"] == pytest.approx(31.2 * 27.2)


def test_run_length_masks_and_crowds(data_dir):
    mask = {"counts": [10, 5, 7], "size": [80, 100]}
    for crowd in (1, True, 1.0):
        (example,) = small.load(
            data_dir,
            small.content(segmentation=mask, iscrowd=crowd, id=small.MISSING),
        )
        assert example["person"]["is_crowd"]
        small.forget(data_dir)


def test_missing_ids_are_filled_in_with_free_numbers(data_dir):
    content = small.content()
    for number in (None, 1, 0, -7, "12", 3.0):
        content["annotations"].append({**small.PERSON, "id": number})
    ids = [int(e["person"]["person_id"]) for e in small.load(data_dir, content)]
    assert ids == [-7, 0, 1, 2, 3, 5, 12]


@pytest.mark.parametrize("flag,expected", [
    (2, 2), (1, 1), (0, 0), (2.0, 2), (1.0, 1), (True, 2), (False, 1),
])  # fmt: skip
def test_visibility_of_any_type(data_dir, flag, expected):
    (example,) = small.load(
        data_dir,
        small.content(keypoints=small.joint(3, *small.POSITIONS[3], flag)),
    )
    assert example["visibility"][3] == expected
    np.testing.assert_allclose(
        small.positions_of(example)[3] if expected else [48, 20], small.POSITIONS[3]
    )


@pytest.mark.parametrize("values", [
    (None, None, 0), (small.NAN, small.NAN, 0), (None, None, None), (0, 0, None), (0, 0, False),
    ("", "", 0),
], ids=str)  # fmt: skip
def test_joints_without_coordinates_are_unlabelled(data_dir, values):
    (example,) = small.load(data_dir, small.content(keypoints=small.joint(3, *values)))
    assert example["visibility"].tolist() == [2, 2, 2, 0] + [2] * 10 + [0] * 3
    assert not example["joints"][3].any()


def test_nested_keypoints(data_dir):
    nested = np.reshape(small.KEYPOINTS, (17, 3)).tolist()
    (example,) = small.load(data_dir, small.content(keypoints=nested))
    np.testing.assert_allclose(small.positions_of(example)[:14], small.POSITIONS, atol=1e-3)


def test_joints_outside_the_picture_are_unlabelled(data_dir):
    (example,) = small.load(data_dir, small.content(keypoints=small.joint(3, 300, 20, 2)))
    assert example["visibility"][3] == 0 and (example["visibility"] == 2).sum() == 13


@pytest.mark.parametrize("changes,field", [
    ({"keypoints": small.joint(3, 48, 20, 3)}, "`keypoints` has the visibility 3 for joint 3"),
    ({"keypoints": small.joint(3, 48, 20, -1)}, "`keypoints` has the visibility -1"),
    ({"keypoints": small.joint(3, 48, 20, 258)}, "`keypoints` has the visibility 258"),
    ({"keypoints": small.joint(3, 48, 20, 0.87)}, "`keypoints` has the visibility 0.87"),
    ({"keypoints": small.joint(3, 48, 20, "2")}, "`keypoints` has the visibility '2'"),
    ({"keypoints": small.joint(3, 48, 20, None)}, "`keypoints` has the visibility None"),
    ({"keypoints": small.joint(3, 48, 20, small.NAN)}, "`keypoints` has the visibility nan"),
    ({"keypoints": small.joint(3, None, 20, 2)}, "`keypoints` of joint 3 must be numbers"),
    ({"keypoints": small.joint(3, "48", 20, 2)}, "`keypoints` of joint 3 must be numbers"),
    ({"keypoints": small.joint(3, small.NAN, 20, 2)}, "`keypoints` of joint 3 must be numbers"),
    ({"keypoints": small.joint(3, 1e400, 20, 2)}, "`keypoints` of joint 3 must be numbers"),
    ({"keypoints": small.joint(3, 10**400, 20, 2)}, "`keypoints` of joint 3 must be numbers"),
    ({"keypoints": small.KEYPOINTS[:-1]}, "`keypoints` must hold .* of 17 joints, got 50 values"),
    ({"keypoints": small.KEYPOINTS * 2}, "`keypoints` must hold .* got 102 values"),
    ({"keypoints": "1,2,3"}, "`keypoints` must hold"),
    ({"keypoints": {"nose": [1, 2]}}, "`keypoints` must hold"),
    ({"keypoints": small.MISSING}, "`keypoints` must hold"),
    ({"keypoints": [500, 500, 2] * 17}, "`keypoints` are all outside"),
    ({"keypoints": [0.3, 0.4, 2] * 17, "bbox": None}, "`bbox` is None"),
    ({"keypoints": small.KEYPOINTS[:3] + [0] * 48, "bbox": [9, 9]}, r"`bbox` is \[9, 9\]"),
    ({"image_id": 9}, "`image_id` is 9, which no image has"),
    ({"image_id": small.MISSING}, "`image_id` must be an integer"),
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
def test_invalid_field_is_reported_with_file_record_and_field(data_dir, changes, field):
    message = small.refusal(data_dir, small.content(**changes))
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
    ({"id": 1, "file_name": "a.jpg", "width": "50", "height": "40"}, "50 x 40, but a.jpg has 100"),
    ({"id": 1, "file_name": ".."}, "`file_name` must be a name, got '..'"),
    ({"id": 1, "file_name": "/"}, "`file_name` must be a name"),
    ("a.jpg", "must be an object"),
], ids=str)  # fmt: skip
def test_invalid_image_record_is_reported(data_dir, image, field):
    content = {**small.content(), "images": [image]}
    with pytest.raises(ValueError, match="images") as caught:
        small.load(data_dir, content)
    assert field in str(caught.value)
    assert "images[0]" in str(caught.value)


def test_duplicate_ids_raise_if_nothing_collects_them(tmp_path):
    content = small.content()
    content["annotations"].append(small.PERSON | {"area": 900})
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="`id` 5 is also that of"):
        annotations.read_labels(path, small.NAMES)


def test_duplicate_ids_are_reported(data_dir):
    content = small.content()
    content["annotations"] += [{**small.PERSON, "id": 6}, small.PERSON]
    assert "annotations[2] (id 5): `id` 5 is also that of annotations[0]" in small.refusal(
        data_dir, content
    )
    content = small.content()
    content["images"].append({"id": 1, "file_name": "b.jpg"})
    assert "images[1] (id 1): `id` 1 is also that of images[0]" in small.refusal(data_dir, content)
    content["images"][1] = {**content["images"][0], "width": 50}
    assert "images[1] (id 1): `width` and `height` differ" in small.refusal(data_dir, content)
    # Two equal records are no conflict.
    content["images"][1] = content["images"][0]
    assert len(small.load(data_dir, content)) == 1


@pytest.mark.parametrize("content", [
    b"", b"no JSON", b"[1, 2]", b"null", b'{"images": []}', b'{"images": {}, "annotations": []}',
    json.dumps(small.content()).encode()[:-40], '{"images": "\xe9"}'.encode("latin-1"),
    b"[" * 100000, b"\x89PNG\r\n\x1a\n\x00",
], ids=lambda c: repr(c[:30]))  # fmt: skip
def test_files_of_another_format_raise(data_dir, content):
    assert "is not COCO's JSON file of person keypoints" in small.refusal(data_dir, content)


def test_joints_are_matched_by_the_names_in_the_category(data_dir, capsys):
    order = np.random.default_rng(0).permutation(17)
    spelt = [small.NAMES[i].title().replace("_", " ") for i in order]
    spelt[0] = f"{spelt[0].split()[-1]}_{spelt[0].split()[0]}" if " " in spelt[0] else spelt[0]
    keypoints = np.reshape(small.KEYPOINTS, (17, 3))[order]
    content = small.content(keypoints=keypoints.ravel().tolist())
    content["categories"][0] = {"id": 1, "name": "athlete", "keypoints": spelt}
    (example,) = small.load(data_dir, content)
    np.testing.assert_allclose(small.positions_of(example)[:14], small.POSITIONS, atol=1e-3)
    assert "note" not in capsys.readouterr().err


def test_unknown_joints_are_left_out_with_a_note(data_dir, capsys):
    content = small.content(keypoints=[1, 2, 2, *small.KEYPOINTS[:9]])
    content["categories"][0]["keypoints"] = ["neck", "nose", "leftEye", "r_eye"]
    (example,) = small.load(data_dir, content)
    assert example["visibility"].tolist() == [2] * 3 + [0] * 14
    np.testing.assert_allclose(small.positions_of(example)[:3], small.POSITIONS[:3], atol=1e-3)
    note = capsys.readouterr().err
    assert "neck, which are left out" in note and "lacks left_ear" in note


@pytest.mark.parametrize("keypoints,message", [
    (["thumb", "palm"], "'person' has thumb, palm"),
    (["nose", "Nose"], "'person' has a joint twice"),
    ("nose", "must be a list of names"),
    ([1, 2], "must be a list of names"),
])  # fmt: skip
def test_invalid_joint_names_raise(data_dir, keypoints, message):
    content = small.content()
    content["categories"][0]["keypoints"] = keypoints
    assert message in small.refusal(data_dir, content)


def test_categories_with_the_same_id_raise(data_dir):
    content = small.content()
    content["categories"].append({"id": "1", "name": "p", "keypoints": small.NAMES[::-1]})
    assert "two categories have the `id` 1 and different `keypoints`" in small.refusal(
        data_dir, content
    )
    content["categories"][1]["keypoints"] = small.NAMES
    assert len(small.load(data_dir, content)) == 1


def test_annotations_of_other_categories_are_left_out(data_dir):
    content = small.content()
    content["categories"].append({"id": 2, "name": "ball"})
    content["annotations"] += [
        {"id": 6, "image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4]},
        {"id": 7, "image_id": 1, "category_id": 2, "keypoints": [1, 2, 2], "num_keypoints": 1},
        {"id": 8, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]},
        {"id": 9, "image_id": 1, "category_id": 1, "keypoints": [0] * 51},
    ]
    assert [e["person"]["person_id"] for e in small.load(data_dir, content)] == [5]


def test_file_without_people_raises(data_dir):
    for content in (
        {**small.content(), "annotations": []},
        small.content(keypoints=[0] * 51),
    ):
        with pytest.raises(ValueError, match="split 'validation' of coco_keypoints is empty"):
            small.load(data_dir, content)


def test_all_faults_are_reported_at_once_and_can_be_skipped(data_dir, capsys):
    content = small.content(iscrowd=7)
    content["images"] += [{"id": 2, "file_name": "gone.jpg"}, {"id": 3, "file_name": "cut.jpg"}]
    (data_dir / "val2017" / "cut.jpg").write_bytes(b"<html>")
    for number in (2, 3, 1):
        content["annotations"].append({**small.PERSON, "id": 10 + number, "image_id": number})
    with pytest.raises(ValueError, match="3 files or records") as caught:
        small.load(data_dir, content)
    for name in ("annotations[0]", "gone.jpg", "cut.jpg", "--skip_broken"):
        assert name in str(caught.value)
    (example,) = small.load(data_dir, content, skip_broken=True)
    assert example["person"]["person_id"] == 11
    assert "without 3 broken files or records" in capsys.readouterr().err
