"""Tests of files of people's boxes, and of the pictures that the boxes belong to."""

import json

import pytest

from examples.pose.inference import person_boxes
from examples.pose.inference.person_boxes import Box, BoxError

BBOX = [1, 2, 30, 40]


def read(folder, content):
    path = folder / "boxes.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return person_boxes.read(path)


def of(boxes, path):
    (found,) = boxes.of_pictures([path])
    if isinstance(found, BoxError):
        raise found
    return found


@pytest.mark.parametrize("image_id,path", [
    (139, "a/000000000139.jpg"), (139, "COCO_val2014_000000000139.jpg"), (7, "7.png"),
    ("holiday", "x/holiday.jpg"), ("holiday.jpg", "holiday.jpg"), ("7", "007.png"),
])  # fmt: skip
def test_a_result_finds_its_picture(tmp_path, image_id, path):
    record = {"image_id": image_id, "category_id": 3, "bbox": BBOX, "score": 0.5}
    boxes = read(tmp_path, [record, {**record, "score": 0.25}])
    expected = [Box((1, 2, 30, 40), image_id, 3, score) for score in (0.5, 0.25)]
    assert of(boxes, path) == expected
    assert of(boxes, "other.jpg") == of(boxes, "8.jpg") == []


def test_a_picture_can_be_named(tmp_path):
    boxes = read(tmp_path, [{"file_name": "people/b.jpg", "bbox": BBOX}])
    assert [box.bbox for box in of(boxes, "elsewhere/b.jpg")] == [(1, 2, 30, 40)]


def test_annotations_name_their_pictures(tmp_path):
    content = {
        "images": [{"id": 5, "file_name": "x\\b.jpg"}, {"id": 6, "file_name": "5.jpg"}],
        "annotations": [{"id": 1, "image_id": 5, "bbox": BBOX, "keypoints": []}],
    }
    boxes = read(tmp_path, content)
    assert len(of(boxes, "b.jpg")) == 1 and of(boxes, "5.jpg") == []


def test_folders_tell_pictures_with_the_same_name_apart(tmp_path, monkeypatch):
    names = ("a/1.jpg", "b\\1.jpg", "2.jpg")
    boxes = read(tmp_path, [{"file_name": n, "bbox": [i, 0, 9, 9]} for i, n in enumerate(names)])

    def found(path):
        return [box.bbox[0] for box in of(boxes, path)]

    assert found("a/1.jpg") == found(str(tmp_path / "a" / "1.jpg")) == [0]
    assert found("./b/1.jpg") == found("x/b/../b/1.jpg") == [1] and found("a/2.jpg") == [2]
    with pytest.raises(BoxError, match=r"1\.jpg may be a/1\.jpg or b/1\.jpg in the file of boxes"):
        found("1.jpg")
    (tmp_path / "b").mkdir()
    monkeypatch.chdir(tmp_path / "b")
    assert found("1.jpg") == [1]


def columns(boxes, *paths):
    """The x of each picture's boxes; the message if they are unknown."""
    found = boxes.of_pictures(paths)
    return [str(f) if isinstance(f, BoxError) else [box.bbox[0] for box in f] for f in found]


def test_a_picture_does_not_get_the_boxes_of_another_one_of_its_name(tmp_path):
    """Detectors write no box for a picture without people."""
    boxes = read(tmp_path, [{"file_name": "cam1/1.png", "bbox": [1, 0, 9, 9]}])
    assert columns(boxes, "cam1/1.png", "cam2/1.png") == [[1], []]
    assert columns(boxes, "cam2/1.png", "cam1/1.png") == [[], [1]]
    assert columns(boxes, "elsewhere/1.png") == [[1]]
    content = {
        "images": [{"id": 5, "file_name": "cam1/1.png"}, {"id": 6, "file_name": "cam2/1.png"}],
        "annotations": [{"image_id": 5, "bbox": [1, 0, 9, 9]}],
    }
    assert columns(read(tmp_path, content), "cam2/1.png") == [[]]


@pytest.mark.parametrize("record,paths", [
    ({"file_name": "1.png"}, ("cam1/1.png", "cam2/1.png")),
    ({"file_name": "cam1/1.png"}, ("cam2/1.png", "cam3/1.png")),
    ({"image_id": 1}, ("IMG_0001.jpg", "DSC_1.jpg")),
])  # fmt: skip
def test_pictures_that_fit_the_same_boxes_are_an_error_each(tmp_path, record, paths):
    other = {"image_id": "other", "bbox": [2, 0, 9, 9]}
    boxes = read(tmp_path, [{**record, "bbox": [1, 0, 9, 9]}, other])
    *errors, last = columns(boxes, *paths, "other.jpg")
    assert last == [2] and len(errors) == 2
    assert all(e.startswith(f"{paths[0]} and {paths[1]} both fit") for e in errors)


def test_a_folder_in_place_of_a_picture_has_no_boxes(tmp_path):
    assert columns(read(tmp_path, [{"image_id": 1, "bbox": BBOX}]), "/", ".") == [[], []]


def test_frames_are_numbered(tmp_path):
    boxes = read(tmp_path, [{"image_id": index, "bbox": [index, 0, 9, 9]} for index in (0, 2, 2)])
    assert [len(boxes.of_frame(index)) for index in range(4)] == [1, 0, 2, 0]
    assert [boxes.count_from(index) for index in range(4)] == [3, 2, 2, 0]


@pytest.mark.parametrize("content", [
    [{"image_id": 2, "file_name": "clip.mp4", "bbox": BBOX}],
    [{"image_id": "0002", "bbox": BBOX}],
    {"images": [{"id": 2, "file_name": "frame_2.PNG"}],
     "annotations": [{"image_id": 2, "bbox": BBOX}]},
])  # fmt: skip
def test_frames_may_have_names(tmp_path, content):
    boxes = read(tmp_path, content)
    assert boxes.has_frames
    assert [len(boxes.of_frame(index)) for index in range(4)] == [0, 0, 1, 0]


@pytest.mark.parametrize("content,message", [
    ("{", "is not a JSON file"),
    ("3", "holds no boxes"),
    ({"images": []}, "holds no boxes"),
    ({"images": [3], "annotations": 3}, "holds no boxes"),
    ({"images": 3, "annotations": [{"image_id": 1}]}, "record 0: `bbox`"),
    ({"images": [{"id": [3]}], "annotations": [{"image_id": 1}]}, "record 0: `bbox`"),
    ([3], "holds no boxes"),
    ([{"image_id": 1}], "record 0: `bbox` must be .*, got None"),
    ([{"image_id": 1, "bbox": [1, 2, 3]}], "record 0: `bbox`"),
    ([{"image_id": 1, "bbox": BBOX}, {"image_id": 1, "bbox": [1, 2, 0, 5]}], "record 1: `bbox`"),
    ([{"image_id": 1, "bbox": [1, 2, True, 5]}], "record 0: `bbox`"),
    ([{"image_id": 1, "bbox": [1, 2, 1e9, 5]}], "record 0: `bbox`"),
    ([{"image_id": 1, "bbox": [float("nan"), 2, 9, 5]}], "record 0: `bbox`"),
    ([{"bbox": BBOX}], "record 0: `image_id` must be .*, got None"),
    ([{"image_id": 1, "bbox": BBOX, "score": "high"}], "record 0: `score`"),
    ([{"image_id": 1, "bbox": BBOX, "score": 10**400}], "record 0: `score`"),
    ([{"image_id": 1, "bbox": BBOX, "score": float("nan")}], "record 0: `score`"),
    ([{"image_id": 1, "bbox": BBOX, "category_id": float("nan")}], "record 0: `category_id`"),
])  # fmt: skip
def test_an_invalid_file_is_one_clear_error(tmp_path, content, message):
    with pytest.raises(BoxError, match=message) as caught:
        read(tmp_path, content)
    assert "boxes.json" in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BoxError, match=r"nowhere\.json: No such file"):
        person_boxes.read(tmp_path / "nowhere.json")


def test_boxes_must_overlap_the_picture():
    Box((-5, -5, 6, 6)).check_overlap(10, 10)
    for bbox in ((10, 0, 5, 5), (0, 10, 5, 5), (-5, 0, 5, 5), (0, -5, 5, 5)):
        with pytest.raises(BoxError, match="does not overlap the picture of 10 x 10"):
            Box(bbox).check_overlap(10, 10)
