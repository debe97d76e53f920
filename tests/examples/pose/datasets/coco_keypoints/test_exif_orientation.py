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


def _load(tmp_path, orientation, size, stored_size=(120, 80), positions=_POSITIONS):
    """Loads a picture whose record has `size`, which may differ from `stored_size`."""
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017").mkdir()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(_upright(*stored_size)).save(tmp_path / "val2017" / "a.jpg", exif=exif)
    person = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 120, 120]}
    person["keypoints"] = np.insert(positions, 2, 2, axis=1).ravel().tolist()
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": size[0], "height": size[1]}],
        "annotations": [person],
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO_SKELETON.joint_names)}],
    }
    path = tmp_path / "annotations" / "person_keypoints_val2017.json"
    path.write_text(json.dumps(content))
    dataset, _ = datasets.load("coco_keypoints", "validation", tmp_path, tmp_path / "prepared")
    (example,) = dataset.as_numpy_iterator()
    return example


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


@pytest.mark.parametrize("orientation,size,positions,field", [
    # Labelled as shown, with the size as stored.
    (6, (120, 80), _POSITIONS + (0, 40), "`width` and `height` are 120 x 80, the size before"),
    (6, (120, 81), _POSITIONS, "`width` and `height` are 120 x 81, but a.jpg has 80 x 120"),
    (1, (80, 120), _POSITIONS, "`width` and `height` are 80 x 120, but a.jpg has 120 x 80"),
], ids=["joints", "another size", "no orientation"])  # fmt: skip
def test_labels_that_fit_no_orientation_raise(tmp_path, orientation, size, positions, field):
    with pytest.raises(ValueError) as caught:
        _load(tmp_path, orientation, size, positions=positions)
    message = str(caught.value)
    assert field in message and "images[0] (id 1)" in message and "\n" not in message
    assert "person_keypoints_val2017.json" in message
