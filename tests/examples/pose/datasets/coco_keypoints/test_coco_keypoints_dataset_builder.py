"""Tests of the `coco_keypoints` builder."""

import json

import numpy as np
import pytest
import tensorflow_datasets as tfds
from etils import epath
from pycocotools import cocoeval

from examples.pose.datasets.coco_keypoints import coco_keypoints_dataset_builder
from examples.pose.datasets.skeletons import COCO_SKELETON, Skeleton

_DUMMY_DATA = epath.Path(coco_keypoints_dataset_builder.__file__).parent / "dummy_data"


class CocoKeypointsTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = coco_keypoints_dataset_builder.Builder
    SPLITS = {"train": 3, "validation": 3}


@pytest.fixture(scope="module")
def builder(prepare):
    return prepare(coco_keypoints_dataset_builder.Builder, _DUMMY_DATA)


@pytest.mark.parametrize("split,name", [("train", "train2017"), ("validation", "val2017")])
def test_examples_follow_the_json(builder, split, name):
    path = _DUMMY_DATA / "coco" / "annotations" / f"person_keypoints_{name}.json"
    annotations = {a["id"]: a for a in json.loads(path.read_text())["annotations"]}
    seen = set()
    for example in tfds.as_numpy(builder.as_dataset(split=split)):
        person = example["person"]
        annotation = annotations[int(person["person_id"])]
        seen.add(annotation["id"])
        keypoints = np.array(annotation["keypoints"]).reshape(17, 3)
        np.testing.assert_array_equal(example["visibility"], keypoints[:, 2])
        labelled = keypoints[:, 2] > 0
        positions = example["joints"][labelled] + person["origin"]
        np.testing.assert_array_equal(positions, keypoints[labelled, :2])
        assert not example["joints"][~labelled].any()
        x, y, width, height = annotation["bbox"]
        box = person["box"] + np.tile(person["origin"], 2)
        np.testing.assert_array_equal(box, [x, y, x + width, y + height])
        assert person["area"] == annotation["area"]
        assert person["image_id"] == annotation["image_id"] == int(example["id"])
        assert not person["is_crowd"]
        # The crop contains the box, and has the pixels of the photograph.
        assert (person["box"] >= -0.5).all()
        image = tfds.core.lazy_imports.PIL_Image.open(
            _DUMMY_DATA / "coco" / name / f"{annotation['image_id']:012d}.jpg"
        )
        left, top = person["origin"].astype(int)
        height, width = example["image"].shape[:2]
        part = np.asarray(image)[top : top + height, left : left + width].astype(float)
        assert part.shape == example["image"].shape
        assert np.abs(part - example["image"]).mean() < 6
    # The crowd has no labelled joints and is left out.
    assert seen == {n for n, a in annotations.items() if a["num_keypoints"]}
    assert len(annotations) == len(seen) + 1


def test_examples_include_occluded_and_unlabelled_joints(builder):
    examples = tfds.as_numpy(builder.as_dataset(split="train+validation"))
    assert set(np.unique([e["visibility"] for e in examples])) == {0, 1, 2}


def test_joints_match_pycocotools(builder):
    assert Skeleton.from_metadata(builder.info.metadata) == COCO_SKELETON
    assert COCO_SKELETON.num_joints == len(cocoeval.Params("keypoints").kpt_oks_sigmas)


@pytest.mark.parametrize(
    "content",
    [
        "no JSON",
        '{"images": []}',
        '{"images": [], "annotations": [{"num_keypoints": 1, "image_id": 1, "keypoints": []}]}',
    ],
)
def test_file_of_another_format_raises(tmp_path, content):
    path = epath.Path(tmp_path / "person_keypoints.json")
    path.write_text(content)
    with pytest.raises(ValueError, match=r"person_keypoints\.json (is not|has a person)"):
        coco_keypoints_dataset_builder.read_labels(path)


if __name__ == "__main__":
    tfds.testing.test_main()
