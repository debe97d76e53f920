"""COCO keypoints 2017."""

from __future__ import annotations

import collections
import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from examples.pose.datasets import official_files, pose_features, skeletons
from examples.pose.datasets.coco_keypoints import annotations
from examples.pose.datasets.coco_keypoints.records import FieldError, Person, Photograph
from examples.pose.datasets.official_files import Part, PictureFolder, Root
from examples.pose.datasets.preparation import Broken, FromFiles
from examples.pose.datasets.skeletons import COCO_SKELETON

_HOMEPAGE = "https://cocodataset.org/#keypoints-2017"
_SERVER = "http://images.cocodataset.org"
_FOLDERS = ("coco", "coco2017", "")
_PERSON = ("origin", "box", "area", "is_crowd", "image_id", "person_id")
_OFFICIAL_NAMES = {"train": "train2017", "validation": "val2017"}
# Photographs are cropped to the person's box, enlarged by this factor.
_CROP_SIZE = 1.25


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
            features=pose_features.pose_features(COCO_SKELETON, _PERSON),
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
        # Each photograph is read once, for all people in it.
        by_image: dict[int, list[Person]] = {}
        for person in people:
            by_image.setdefault(person.image_id, []).append(person)
        find = _Finder(pictures, photographs.values())
        for image_id, group in by_image.items():
            photograph = photographs[image_id]
            try:
                image = _read_labelled(find(photograph), labels, photograph, group)
            except FieldError as error:
                self.broken.add(annotations.fault(labels, photograph, error))
                continue
            except (ValueError, FileNotFoundError) as error:
                self.broken.add(error)
                continue
            name = photograph.name.rpartition(".")[0]
            height, width = image.shape[:2]
            for person in group:
                try:
                    example = _example(image, name, person.inside(width, height))
                except FieldError as error:
                    self.broken.add(annotations.fault(labels, person, error))
                else:
                    yield f"{name}_{person.id}", example


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


class _Finder:
    """Finds the file of a photograph by its name.

    If there is no such file, names are compared without suffix, then also without folders, provided
    that only one photograph has such a name.
    """

    def __init__(self, root: Root, photographs: Iterable[Photograph]):
        self._pictures = PictureFolder(root)
        self._count = collections.Counter()
        for photograph in photographs:
            self._count.update(dict.fromkeys(_stems(photograph.name), 1))

    def __call__(self, photograph: Photograph) -> Root:
        """The path of the photograph's file, or the expected path if there is no file."""
        found = self._pictures.exact(photograph.name)
        for name, stem in zip(_spellings(photograph.name), _stems(photograph.name), strict=True):
            if found is None and self._count[stem] == 1:
                found = self._pictures.find(name)
        return found or self._pictures.root / photograph.name


def _read_labelled(
    path: Root, labels: Root, photograph: Photograph, people: Iterable[Person]
) -> np.ndarray:
    """Reads a picture in the orientation in which it was labelled.

    Most tools apply the EXIF orientation before labelling, some do not. If the two orientations
    differ in size, the size in the record tells whether it was applied.
    """
    shown = official_files.read_rgb(path, labels)
    size, swapped = shown.shape[1::-1], shown.shape[:2]
    if photograph.size == swapped != size:
        stored = official_files.read_rgb(path, labels, turn=False)
        if stored.shape[1::-1] == photograph.size:
            photograph.check_stored(people)
            return stored
    photograph.check_size(*size)
    return shown


def _spellings(name: str) -> tuple[str, str]:
    return name, name.rpartition("/")[2]


def _stems(name: str) -> list[tuple[bool, str]]:
    """The keys to compare a name by: with its folders, and without."""
    return [
        (whole, official_files.folded(os.path.splitext(spelling)[0]))
        for whole, spelling in zip((True, False), _spellings(name), strict=True)
    ]


def _example(image: np.ndarray, name: str, person: Person) -> dict[str, Any]:
    x, y, width, height = person.bbox
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
    labelled = person.visibility[:, np.newaxis] != skeletons.NOT_LABELLED
    box = np.array([x, y, x + width, y + height]) - np.tile(origin, 2)
    return {
        "image": part,
        "joints": np.where(labelled, person.joints - origin, 0).astype(np.float32),
        "visibility": person.visibility,
        "id": name,
        "person": {
            "origin": origin,
            "box": box.astype(np.float32),
            "area": person.area,
            "is_crowd": person.is_crowd,
            "image_id": person.image_id,
            "person_id": person.id,
        },
    }
