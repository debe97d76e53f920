"""A COCO-style file of one person and its picture, for tests that change them."""

import copy
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from examples.pose import datasets
from examples.pose.datasets.skeletons import COCO_SKELETON

NAMES = list(COCO_SKELETON.joint_names)
SIZE = (100, 80)
# Joints on a grid from (30, 20) to (54, 60), all visible but the last three.
POSITIONS = [(30 + 6 * (i % 5), 20 + 10 * (i // 5)) for i in range(14)]
KEYPOINTS = [v for position in POSITIONS for v in (*position, 2)] + [0] * 9
PERSON = {
    "id": 5,
    "image_id": 1,
    "category_id": 1,
    "bbox": [25, 15, 40, 50],
    "area": 1000.5,
    "iscrowd": 0,
    "num_keypoints": 14,
    "keypoints": KEYPOINTS,
}


class _Missing:
    """Marks a field to leave out of a record. Its `repr` is the same in every process."""

    def __repr__(self):
        return "missing"


MISSING = _Missing()
NAN = float("nan")


def content(**changes):
    """The content of a file with one person; `changes` to its fields, `MISSING` removes one."""
    person = {k: v for k, v in {**PERSON, **changes}.items() if v is not MISSING}
    return {
        "images": [{"id": 1, "file_name": "a.jpg", "width": SIZE[0], "height": SIZE[1]}],
        "annotations": [copy.deepcopy(person)],
        "categories": [{"id": 1, "name": "person", "keypoints": list(NAMES)}],
    }


def joint(index, *values):
    """`KEYPOINTS` with other values (x, y, visibility) for one joint."""
    return KEYPOINTS[: 3 * index] + list(values) + KEYPOINTS[3 * index + 3 :]


def write_picture(path, size=SIZE, seed=0):
    """Writes a picture of random pixels, creating its folder."""
    path.parent.mkdir(exist_ok=True, parents=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def load(data_dir, content, **options):
    """Writes the labels of `validation` and loads its examples, sorted by person id."""
    path = data_dir / "annotations" / "person_keypoints_val2017.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    prepared = data_dir.parent / "prepared"
    dataset, _ = datasets.load("coco_keypoints", "validation", data_dir, prepared, **options)
    return sorted(dataset.as_numpy_iterator(), key=lambda e: e["person"]["person_id"])


def refusal(data_dir, content):
    """The error message for a file, after checking that it is one line and names the file."""
    with pytest.raises(ValueError) as caught:
        load(data_dir, content)
    assert type(caught.value) is ValueError  # Commands print these without a traceback.
    message = str(caught.value)
    assert "person_keypoints_val2017.json" in message
    assert "\n" not in message and len(message) < 1000
    return message


def positions_of(example):
    """The joints in pixels of the photograph."""
    return example["joints"] + example["person"]["origin"]


def forget(data_dir):
    """Removes the prepared records."""
    shutil.rmtree(data_dir.parent / "prepared")
