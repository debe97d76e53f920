"""COCO keypoints 2017."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds
from etils import epath

from examples.pose.datasets import official_files, pose_features
from examples.pose.datasets.coco_keypoints import annotations, person_examples
from examples.pose.datasets.coco_keypoints.records import Person, Photograph
from examples.pose.datasets.official_files import Part, Root
from examples.pose.datasets.preparation import Broken, FromFiles
from examples.pose.datasets.skeletons import COCO_SKELETON

_HOMEPAGE = "https://cocodataset.org/#keypoints-2017"
_SERVER = "http://images.cocodataset.org"
_FOLDERS = ("coco", "coco2017", "")
_OFFICIAL_NAMES = {"train": "train2017", "validation": "val2017"}


class Builder(FromFiles, tfds.core.GeneratorBasedBuilder):
    """COCO keypoints 2017: one example per person with at least one labelled joint."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    The files are downloaded if http://images.cocodataset.org can be reached. Otherwise put them
    into the manual folder or its folder `coco/`: either `annotations/` (with
    `person_keypoints_train2017.json` and `person_keypoints_val2017.json`), `train2017/` and
    `val2017/` (with the photographs), or the official `annotations_trainval2017.zip`,
    `train2017.zip` (18 GB) and `val2017.zip`. Each split can be used without the other.
    """
    all_splits = ("train", "validation")

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=pose_features.pose_features(COCO_SKELETON, person_examples.FEATURES),
            metadata=pose_features.pose_metadata(COCO_SKELETON),
            homepage=_HOMEPAGE,
        )

    def local_parts(self, manual_dir: epath.Path | None) -> dict[str, dict[str, Root | None]]:
        """The parts of each split in the manual folder."""
        return {
            split: {
                name: official_files.find_local(manual_dir, _FOLDERS, part)
                for name, part in _parts(split).items()
            }
            for split in self.all_splits
        }

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        manual_dir, _ = official_files.manual_folder_of(dl_manager)
        found = {
            split: {
                name: official_files.find_part(dl_manager, _FOLDERS, part)
                for name, part in _parts(split).items()
            }
            for split in self.splits_to_prepare(self.local_parts(manual_dir))
        }
        return {
            split: self._require_examples(split, self._generate_examples(**parts))
            for split, parts in found.items()
        }

    def _generate_examples(
        self, labels: Root, pictures: Root
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        photographs, people = read_labels(labels, broken=self.broken)
        yield from person_examples.read(labels, pictures, photographs, people, self.broken)


def _parts(split: str) -> dict[str, Part]:
    name, archive = _OFFICIAL_NAMES[split], "annotations_trainval2017.zip"
    return {
        "labels": Part(
            path=f"annotations/person_keypoints_{name}.json",
            archive=archive,
            url=f"{_SERVER}/annotations/{archive}",
        ),
        "pictures": Part(path=name, archive=f"{name}.zip", url=f"{_SERVER}/zips/{name}.zip"),
    }


def read_labels(
    path: Root, broken: Broken | None = None
) -> tuple[dict[int, Photograph], list[Person]]:
    """Reads a file of COCO's labels with COCO's joints; see `annotations.read_labels`."""
    return annotations.read_labels(path, COCO_SKELETON.joint_names, broken)
