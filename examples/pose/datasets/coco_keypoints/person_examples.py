"""Reads the pictures that a COCO-style file labels, and crops them to one person each."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from examples.pose.datasets import official_files, skeletons
from examples.pose.datasets.coco_keypoints import annotations
from examples.pose.datasets.coco_keypoints.records import FieldError, Person, Photograph
from examples.pose.datasets.official_files import PictureFolder, Root
from examples.pose.datasets.preparation import Broken
from examples.pose.images import cropping

# The features of `person` in the examples, see `pose_features`.
FEATURES = ("origin", "box", "area", "is_crowd", "image_id", "person_id")


def read(
    labels: Root,
    pictures: Root,
    photographs: Mapping[int, Photograph],
    people: Iterable[Person],
    broken: Broken,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields a key and an example for each person.

    Args:
        labels: The file of labels, for messages.
        pictures: The folder of the pictures.
        photographs: The photographs of the file, by id.
        people: The people to read, as `annotations.read_labels` returns them.
        broken: Receives the pictures and people that cannot be used.
    """
    find = _Finder(pictures, photographs.values())
    size_is_stored = any(
        _is_turned(find(photograph), labels, photograph)
        for photograph in photographs.values()
        if photograph.has_swapped_size
    )
    # Each photograph is read once, for all people in it.
    for image_id, group in annotations.by_image(people).items():
        photograph = photographs[image_id]
        try:
            image = _read_labelled(find(photograph), labels, photograph, size_is_stored)
        except FieldError as error:
            broken.add(annotations.fault(labels, photograph, error))
            continue
        except (ValueError, FileNotFoundError) as error:
            broken.add(error)
            continue
        name = photograph.name.rpartition(".")[0]
        height, width = image.shape[:2]
        for person in group:
            try:
                inside = person.inside(width, height, is_alone=len(group) == 1)
                example = _example(image, name, inside)
            except FieldError as error:
                broken.add(annotations.fault(labels, person, error))
            else:
                yield f"{name}_{person.id}", example


class _Finder:
    """Finds the file of a photograph by its name.

    If there is no such file, names are compared without suffix, then also without folders, provided
    that only one photograph has such a name. Finally, subfolders are searched for the only file of
    that name.
    """

    def __init__(self, root: Root, photographs: Iterable[Photograph]):
        self._pictures = PictureFolder(root)
        self._count = collections.Counter()
        for name in {photograph.name for photograph in photographs}:
            self._count.update(_stems(name))

    def __call__(self, photograph: Photograph) -> Root:
        """The path of the photograph's file, or the expected path if there is no file."""
        found = self._pictures.exact(photograph.name)
        unique = [
            name
            for name, stem in zip(_spellings(photograph.name), _stems(photograph.name), strict=True)
            if self._count[stem] == 1
        ]
        for find in (self._pictures.find, self._pictures.find_below):
            for name in unique:
                found = found or find(name)
        return found or self._pictures.root / photograph.name


def _is_turned(path: Root, labels: Root, photograph: Photograph) -> bool:
    """Whether the EXIF orientation swaps the sides of a picture whose record has the stored size.

    False for a picture that cannot be read.
    """
    try:
        shown, stored = (official_files.read_rgb(path, labels, turn) for turn in (True, False))
    except (ValueError, FileNotFoundError):
        return False
    return stored.shape[1::-1] == photograph.size == shown.shape[:2]


def _read_labelled(
    path: Root, labels: Root, photograph: Photograph, size_is_stored: bool
) -> np.ndarray:
    """Reads a picture in the orientation in which it was labelled.

    Most tools apply the EXIF orientation before labelling, some do not. If the two orientations
    differ in size, the size in the record tells whether it was applied. If the tool applied the
    orientation for labelling but not for the sizes in the records, `size_is_stored` is True.
    """
    shown = official_files.read_rgb(path, labels)
    size, swapped = shown.shape[1::-1], shown.shape[:2]
    if photograph.size == swapped != size:
        stored = official_files.read_rgb(path, labels, turn=False)
        if stored.shape[1::-1] == photograph.size:
            return shown if size_is_stored else stored
    photograph.check_size(*size)
    return shown


def _spellings(name: str) -> tuple[str, str]:
    return name, name.rpartition("/")[2]


def _stems(name: str) -> list[tuple[bool, str]]:
    """The keys to compare a name by: with its folders, and without."""
    return [
        (whole, official_files.picture_key(spelling))
        for whole, spelling in zip((True, False), _spellings(name), strict=True)
    ]


def _example(image: np.ndarray, name: str, person: Person) -> dict[str, Any]:
    part, origin = cropping.crop_to_box(image, person.bbox)
    x, y, width, height = person.bbox
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
