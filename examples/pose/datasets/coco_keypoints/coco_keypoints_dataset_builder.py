"""COCO keypoints 2017."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from examples.pose.datasets import official_files, pose_features
from examples.pose.datasets.official_files import Part, Root

COCO_SKELETON = pose_features.Skeleton(
    joint_names=(
        "nose",
        "left_eye",
        "right_eye",
        "left_ear",
        "right_ear",
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
        "right_elbow",
        "left_wrist",
        "right_wrist",
        "left_hip",
        "right_hip",
        "left_knee",
        "right_knee",
        "left_ankle",
        "right_ankle",
    ),
    flip_pairs=((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)),
    limbs=(
        (15, 13),
        (13, 11),
        (16, 14),
        (14, 12),
        (11, 12),
        (5, 11),
        (6, 12),
        (5, 6),
        (5, 7),
        (6, 8),
        (7, 9),
        (8, 10),
        (1, 2),
        (0, 1),
        (0, 2),
        (1, 3),
        (2, 4),
        (3, 5),
        (4, 6),
    ),
    pck_reference=(5, 12),
)

_HOMEPAGE = "https://cocodataset.org/#keypoints-2017"
_SERVER = "http://images.cocodataset.org"
_FOLDERS = ("coco", "coco2017", "")
_PERSON = ("origin", "box", "area", "is_crowd", "image_id", "person_id")
# The part of a photograph that is kept is the person's box, so many times as wide and as high.
_CROP_SIZE = 1.25


class Builder(tfds.core.GeneratorBasedBuilder):
    """COCO keypoints 2017: one example a person with at least one labelled joint."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Nothing needs to be done where http://images.cocodataset.org can be reached. Else put into the
    manual folder, itself or its folder `coco/`: `annotations/` with
    `person_keypoints_train2017.json` and `person_keypoints_val2017.json` in it, `train2017/` and
    `val2017/` with the photographs; or the official `annotations_trainval2017.zip`,
    `train2017.zip` (18 GB) and `val2017.zip`.
    """

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=pose_features.pose_features(COCO_SKELETON, _PERSON),
            metadata=pose_features.pose_metadata(COCO_SKELETON),
            homepage=_HOMEPAGE,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        return {
            split: self._generate_examples(*_find(dl_manager, name))
            for split, name in (("train", "train2017"), ("validation", "val2017"))
        }

    def _generate_examples(
        self, labels: Root, images: Root
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        names, people = read_labels(labels)
        # A photograph is read once for all the people in it.
        by_image: dict[int, list[dict[str, Any]]] = {}
        for person in people:
            by_image.setdefault(person["image_id"], []).append(person)
        for image_id, group in by_image.items():
            image = official_files.read_rgb(images / names[image_id], labels)
            for person in group:
                name = names[image_id].rpartition(".")[0]
                yield f"{name}_{person['id']}", _example(image, name, person)


def _find(dl_manager: tfds.download.DownloadManager, name: str) -> tuple[Root, Root]:
    archive = "annotations_trainval2017.zip"
    labels = Part(
        path=f"annotations/person_keypoints_{name}.json",
        archive=archive,
        url=f"{_SERVER}/annotations/{archive}",
    )
    images = Part(path=name, archive=f"{name}.zip", url=f"{_SERVER}/zips/{name}.zip")
    return tuple(official_files.find_part(dl_manager, _FOLDERS, part) for part in (labels, images))


def read_labels(path: Root) -> tuple[dict[int, str], list[dict[str, Any]]]:
    """Reads a `person_keypoints_*.json`.

    Returns:
        The file name of each image by its id, and the annotations that have labelled joints.

    Raises:
        ValueError: If it is not such a file.
    """
    try:
        content = json.loads(path.read_bytes())
        names = {image["id"]: image["file_name"] for image in content["images"]}
        people = [a for a in content["annotations"] if a["num_keypoints"] > 0]
        known = all(p["image_id"] in names and len(p["keypoints"]) == 51 for p in people)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not COCO's JSON file of person keypoints: {error!r}") from None
    if not known:
        raise ValueError(f"{path} has a person without image, or not of 17 joints.")
    return names, people


def _example(image: np.ndarray, name: str, person: dict[str, Any]) -> dict[str, Any]:
    x, y, width, height = person["bbox"]
    margin = (_CROP_SIZE - 1) / 2
    part, origin = pose_features.crop_person(
        image,
        [
            x - margin * width,
            y - margin * height,
            x + (1 + margin) * width,
            y + (1 + margin) * height,
        ],
    )
    keypoints = np.array(person["keypoints"], np.float64).reshape(-1, 3)
    visibility = keypoints[:, 2].astype(np.uint8)  # The data set's flags are ours.
    labelled = visibility[:, np.newaxis] != pose_features.NOT_LABELLED
    box = np.array([x, y, x + width, y + height]) - np.tile(origin, 2)
    return {
        "image": part,
        "joints": np.where(labelled, keypoints[:, :2] - origin, 0).astype(np.float32),
        "visibility": visibility,
        "id": name,
        "person": {
            "origin": origin,
            "box": box.astype(np.float32),
            "area": person["area"],
            "is_crowd": bool(person["iscrowd"]),
            "image_id": person["image_id"],
            "person_id": person["id"],
        },
    }
