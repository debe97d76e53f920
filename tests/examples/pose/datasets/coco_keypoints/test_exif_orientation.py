"""Tests of pictures with an EXIF orientation, which labelling tools may apply or ignore."""

import json

import numpy as np
import pytest
from PIL import ExifTags, Image

from examples.pose import datasets
from examples.pose.datasets.skeletons import COCO_SKELETON

_MISSING = (None, None)
# Positions of the joints, in pixels of the picture as stored (120 x 80) or as shown.
_POSITIONS = np.array([[20 + 3 * i, 10 + 3 * i] for i in range(17)])


def _upright(width, height):
    """A dark picture with a bright top left corner."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = 255
    return pixels


def _triples(positions):
    return np.insert(positions, 2, 2, axis=1).ravel().tolist()


def _write(tmp_path, orientation, size, stored_size=(120, 80), positions=_POSITIONS):
    """Writes a picture whose record has `size`, which may differ from `stored_size`."""
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017").mkdir()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(_upright(*stored_size)).save(tmp_path / "val2017" / "a.jpg", exif=exif)
    person = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 120, 120]}
    person["keypoints"] = _triples(positions)
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": size[0], "height": size[1]}],
        "annotations": [person],
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO_SKELETON.joint_names)}],
    }
    path = tmp_path / "annotations" / "person_keypoints_val2017.json"
    path.write_text(json.dumps(content))
    return path


def _add_record(path, name, positions):
    """Adds a picture like the one that `_write` writes, with other joints, to the labels."""
    content = json.loads(path.read_text())
    for key in ("images", "annotations"):
        content[key].append(content[key][0] | {"id": 2})
    content["images"][1]["file_name"] = name
    content["annotations"][1] |= {"image_id": 2, "keypoints": _triples(positions)}
    path.write_text(json.dumps(content))


def _load(tmp_path, *arguments, **options):
    """Loads the picture that `_write` writes."""
    _write(tmp_path, *arguments, **options)
    (example,) = _examples(tmp_path)
    return example


def _examples(tmp_path):
    dataset, _ = datasets.load("coco_keypoints", "validation", tmp_path, tmp_path / "prepared")
    return list(dataset.as_numpy_iterator())


def _bright_corner(image):
    """Which corner is bright: (bottom, right)."""
    height, width = image.shape[:2]
    corners = image.mean(axis=-1)[[5, -5]][:, [5, -5]]
    assert (corners > 128).sum() == 1, (height, width, corners)
    bottom, right = np.argwhere(corners > 128)[0].tolist()
    return bottom, right


@pytest.mark.parametrize("orientation,size,shape,corner", [
    (1, (120, 80), (80, 120), (0, 0)),
    (6, (80, 120), (120, 80), (0, 1)),  # The size as shown.
    (6, (120, 80), (80, 120), (0, 0)),  # The size as stored.
    (8, (80, 120), (120, 80), (1, 0)),
    (8, (120, 80), (80, 120), (0, 0)),
    (5, (120, 80), (80, 120), (0, 0)),
    (6, _MISSING, (120, 80), (0, 1)),
    (3, (120, 80), (80, 120), (1, 1)),  # Both orientations have the same size: as shown.
    (2, (120, 80), (80, 120), (0, 1)),
], ids=str)  # fmt: skip
def test_size_in_the_record_selects_the_orientation(tmp_path, orientation, size, shape, corner):
    example = _load(tmp_path, orientation, size)
    assert example["image"].shape == (*shape, 3)
    assert _bright_corner(example["image"]) == corner
    np.testing.assert_array_equal(example["joints"] + example["person"]["origin"], _POSITIONS)


def test_square_picture_is_rotated(tmp_path):
    example = _load(tmp_path, 6, (90, 90), stored_size=(90, 90))
    assert _bright_corner(example["image"]) == (0, 1)


def test_sizes_that_the_joints_of_one_picture_contradict_count_nowhere(tmp_path):
    """Some tools label pictures as shown, and write their sizes as stored."""
    beyond = _POSITIONS + (0, 40)  # These fit only the picture as shown, 80 x 120.
    path = _write(tmp_path, 6, (120, 80), positions=beyond)
    _add_record(path, "b.jpg", _POSITIONS)
    pictures = tmp_path / "val2017"
    (pictures / "b.jpg").write_bytes((pictures / "a.jpg").read_bytes())
    for example, positions in zip(_examples(tmp_path), (beyond, _POSITIONS), strict=True):
        assert example["image"].shape == (120, 80, 3)
        assert _bright_corner(example["image"]) == (0, 1)
        np.testing.assert_array_equal(example["joints"] + example["person"]["origin"], positions)


def test_joints_outside_of_an_upright_picture_say_nothing_about_the_others(tmp_path):
    """Pictures labelled as stored, of which one has joints below its edge."""
    path = _write(tmp_path, 6, (120, 80))
    _add_record(path, "b.jpg", _POSITIONS + (0, 40))
    Image.fromarray(_upright(120, 80)).save(tmp_path / "val2017" / "b.jpg")
    for example in _examples(tmp_path):
        assert _bright_corner(example["image"]) == (0, 0)


@pytest.mark.parametrize("orientation,size,positions,field", [
    (6, (120, 81), _POSITIONS, "`width` and `height` are 120 x 81, but a.jpg has 80 x 120"),
    (1, (80, 120), _POSITIONS, "`width` and `height` are 80 x 120, but a.jpg has 120 x 80"),
], ids=["another size", "no orientation"])  # fmt: skip
def test_labels_that_fit_no_orientation_raise(tmp_path, orientation, size, positions, field):
    with pytest.raises(ValueError) as caught:
        _load(tmp_path, orientation, size, positions=positions)
    message = str(caught.value)
    assert field in message and "images[0] (id 1)" in message and "\n" not in message
    assert "person_keypoints_val2017.json" in message
