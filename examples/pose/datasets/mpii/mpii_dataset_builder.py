"""MPII Human Pose."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from examples.pose.datasets import official_files, pose_features, skeletons
from examples.pose.datasets.mpii import annotations
from examples.pose.datasets.official_files import Part, PictureFolder, Root
from examples.pose.datasets.preparation import FromFiles
from examples.pose.datasets.skeletons import MPII_SKELETON
from examples.pose.images import cropping

_HOMEPAGE = "http://human-pose.mpi-inf.mpg.de"
_SERVER = "https://datasets.d2.mpi-inf.mpg.de/andriluka14cvpr"
_LABELS = Part(
    path="mpii_human_pose_v1_u12_2/mpii_human_pose_v1_u12_1.mat",
    archive="mpii_human_pose_v1_u12_2.zip",
    url=f"{_SERVER}/mpii_human_pose_v1_u12_2.zip",
)
_IMAGES = Part(
    path="images",
    archive="mpii_human_pose_v1.tar.gz",
    url=f"{_SERVER}/mpii_human_pose_v1.tar.gz",
)
_FOLDERS = ("mpii", "mpii_human_pose_v1", "")
_PERSON = ("origin", "head_box", "centre", "scale", "is_single", "image_id", "person_id")
# Training images of videos whose number is a multiple of this are the split `validation`.
_VALIDATION_VIDEOS = 10
# Photographs are cropped to a square around the person. Its side is _CROP_SIZE times the person's
# height, and its centre is _CROP_SHIFT * `scale` pixels below `objpos`, which is high on the body.
_CROP_SIZE = 1.25
_CROP_SHIFT = 15.0


class Builder(FromFiles, tfds.core.GeneratorBasedBuilder):
    """MPII Human Pose: one example per person. The joints of `test` are not published."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    Put the data set into the manual folder, as the folder `mpii/` with `images/` and
    `mpii_human_pose_v1_u12_1.mat` in it, or with the official `{_IMAGES.archive}` (12.9 GB) and
    `{_LABELS.archive}`. If these are not there, the official addresses {_IMAGES.url} and
    {_LABELS.url} are tried. The data set may be used for research, not commercially.
    """
    all_splits = ("train", "validation", "test")

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=pose_features.pose_features(MPII_SKELETON, _PERSON),
            metadata=pose_features.pose_metadata(MPII_SKELETON),
            homepage=_HOMEPAGE,
        )

    def local_parts(self, manual_dir: epath.Path | None) -> dict[str, dict[str, Root | None]]:
        """The parts of each split in the manual folder."""
        parts = {
            "labels": official_files.find_local(manual_dir, _FOLDERS, _LABELS),
            "pictures": official_files.find_local(manual_dir, _FOLDERS, _IMAGES),
        }
        return dict.fromkeys(self.all_splits, parts)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        labels = official_files.find_part(dl_manager, _FOLDERS, _LABELS)
        images = PictureFolder(official_files.find_part(dl_manager, _FOLDERS, _IMAGES))
        splits: dict[str, list[annotations.Photograph]] = {split: [] for split in self.all_splits}
        for photograph in annotations.read(labels, self.broken):
            splits[_split_of(photograph)].append(photograph)
        # Splits that are not wanted are prepared too if the folder has any of their photographs.
        wanted = self.all_splits if self.wanted is None else self.wanted
        return {
            name: self._require_examples(name, self._generate_examples(images, labels, photographs))
            for name, photographs in splits.items()
            if name in wanted or any(images.find(p.name) for p in photographs if _people(p))
        }

    def _generate_examples(
        self, images: PictureFolder, labels: Root, photographs: list[annotations.Photograph]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for photograph in photographs:
            people = _people(photograph)
            if not people:
                continue
            path = images.find(photograph.name) or images.root / photograph.name
            try:
                image = official_files.read_rgb(path, labels)
            except (ValueError, FileNotFoundError) as error:
                self.broken.add(error)
                continue
            name = os.path.splitext(photograph.name)[0]
            for person in people:
                box = _crop_box(person)
                if not pose_features.overlaps(image, box):
                    self.broken.add(
                        f"{labels}: person {person.number} of image {photograph.number} "
                        f"({photograph.name}) is outside the image, by `objpos` and `scale`."
                    )
                    continue
                yield f"{name}_{person.number}", _example(image, name, photograph, person, box)


def _split_of(photograph: annotations.Photograph) -> str:
    if not photograph.is_train:
        return "test"
    return "validation" if photograph.video % _VALIDATION_VIDEOS == 0 else "train"


def _people(photograph: annotations.Photograph) -> list[annotations.Person]:
    """Selects the people to make examples of: with a known position and, unless `test`, labels."""
    people = [p for p in photograph.people if p.labelled or not photograph.is_train]
    # Without a position, the person cannot be told from others in the photograph.
    return [p for p in people if p.scale > 0]


def _crop_box(person: annotations.Person) -> list[float]:
    middle = person.centre + (0, _CROP_SHIFT * person.scale)
    half = _CROP_SIZE * 100 * person.scale
    return [*(middle - half), *(middle + half)]


def _example(
    image: np.ndarray,
    name: str,
    photograph: annotations.Photograph,
    person: annotations.Person,
    box: list[float],
) -> dict[str, Any]:
    part, origin = cropping.crop_person(image, box)
    labelled = person.visibility[:, np.newaxis] != skeletons.NOT_LABELLED
    head_box = person.head_box - np.tile(origin, 2) if person.head_box.any() else person.head_box
    return {
        "image": part,
        "joints": np.where(labelled, person.joints - origin, 0).astype(np.float32),
        "visibility": person.visibility,
        "id": name,
        "person": {
            "origin": origin,
            "head_box": head_box.astype(np.float32),
            "centre": (person.centre - origin).astype(np.float32),
            "scale": person.scale,
            "is_single": person.is_single,
            "image_id": photograph.number,
            "person_id": person.number,
        },
    }
