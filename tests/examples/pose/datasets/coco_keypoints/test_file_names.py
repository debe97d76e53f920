"""Tests of the names of photographs, as labelling tools and file systems spell them."""

import json

import pytest

from tests.examples.pose.datasets.coco_keypoints import small_labels as small


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_and_names_in_other_scripts(data_dir, encoding):
    content = small.content()
    content["images"][0]["file_name"] = "прыжок é.jpg"
    # A decomposed accent, as on macOS.
    small.write_picture(data_dir / "val2017" / "прыжок é.jpg")
    text = json.dumps(content, ensure_ascii=False)
    (example,) = small.load(data_dir, text.encode(encoding))
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
    ("Sub/Set/a1.jpg", "sub/set/a1.jpg"),
    ("\u00e9/a1.jpg", "e\u0301/a1.jpg"),
], ids=str)  # fmt: skip
def test_file_names_as_labelling_tools_write_them(data_dir, name, place):
    content = small.content()
    content["images"][0]["file_name"] = name
    (data_dir / "val2017" / "a.jpg").unlink()
    small.write_picture(data_dir / "val2017" / place)
    assert len(small.load(data_dir, content)) == 1


@pytest.mark.parametrize("names,places", [
    (("a1.jpg", "a1.jpg"), ("sub/a1.png",)),  # One picture with two ids.
    (("frame.0001", "frame.0002"), ("frame.0001.jpg", "frame.0002.jpg")),
])  # fmt: skip
def test_pictures_with_similar_names_are_found(data_dir, names, places):
    content = small.content()
    content["images"] = [{**content["images"][0], "file_name": names[0]}]
    content["images"].append({**content["images"][0], "id": 2, "file_name": names[1]})
    content["annotations"].append({**small.PERSON, "id": 6, "image_id": 2})
    (data_dir / "val2017" / "a.jpg").unlink()
    for place in places:
        small.write_picture(data_dir / "val2017" / place)
    assert len(small.load(data_dir, content)) == 2


def test_similar_names_are_not_confused(data_dir):
    """Names that differ only in case, suffix, folder or Unicode form. One file is missing."""
    composed, decomposed = "\u00e9.jpg", "e\u0301.jpg"
    small.write_picture(data_dir / "val2017" / composed)
    for first, second in (
        ("a.jpg", "A.jpg"),
        ("a.jpg", "a.png"),
        ("a.jpg", "x/a.jpg"),
        (composed, decomposed),
    ):
        content = small.content()
        content["images"][0]["file_name"] = first
        content["images"].append({**content["images"][0], "id": 2, "file_name": second})
        content["annotations"].append({**small.PERSON, "id": 6, "image_id": 2})
        with pytest.raises(FileNotFoundError, match=f"{second} is missing"):
            small.load(data_dir, content)
        assert (data_dir / "val2017" / first).exists()
    content["images"][0]["file_name"], content["images"][1]["file_name"] = "/x/a.jpg", "/y/a.jpg"
    assert "`file_name` /y/a.jpg and /x/a.jpg" in small.refusal(data_dir, content)


def test_coco_url_replaces_a_missing_file_name(data_dir):
    content = small.content()
    content["images"] = [{"id": 1, "coco_url": "http://images.cocodataset.org/val2017/a.jpg"}]
    assert len(small.load(data_dir, content)) == 1
