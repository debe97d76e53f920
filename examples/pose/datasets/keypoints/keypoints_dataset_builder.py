"""Your own pictures with keypoints, in the format of COCO."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterator
from typing import Any

import tensorflow_datasets as tfds
from etils import epath

from examples.pose.datasets import KeypointFiles, pose_features
from examples.pose.datasets.coco_keypoints import annotations, person_examples
from examples.pose.datasets.keypoints import category
from examples.pose.datasets.official_files import Root
from examples.pose.datasets.preparation import FromFiles

# Without a file to measure on, about one picture of this many is held out.
_HELD_OUT = 5
# If pictures in folders have fewer different names than this, they are told apart by folder.
_FEW_NAMES = 10
# Roboflow adds this text to the name of each copy of a picture.
_ROBOFLOW_COPY = re.compile(r"\.rf\.[0-9A-Za-z]+(?=\.\w+$)")


class Builder(FromFiles, tfds.core.GeneratorBasedBuilder):
    """Your own pictures: one example for each person, animal or thing with a labelled joint.

    Args:
        files: The files.
        data_dir: Folder of the prepared records. Those of other files have other names.
    """

    VERSION = tfds.core.Version("1.2.0")
    RELEASE_NOTES = {
        "1.1.0": "The held-out pictures are chosen by their names.",
        "1.2.0": "Copies of a picture by Roboflow are held out together.",
    }
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "The manual folder is `files.images`, the folder of the pictures."
    )
    all_splits = ("train", "validation")
    prepares_changed_files = True

    def __init__(self, files: KeypointFiles, data_dir: str | None = None):
        # An absolute path below stays one if it is joined to another.
        self.files = files.absolute()
        # The file that names the joints.
        self._names = epath.Path(self.files.annotations or self.files.validation)
        self._skeleton = category.read_skeleton(self._names, files.flip_pairs)
        root = epath.Path(data_dir or tfds.core.constants.DATA_DIR).expanduser()
        super().__init__(data_dir=root / "keypoints" / _name(self.files))

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{self.files}",
            features=pose_features.pose_features(self._skeleton, person_examples.FEATURES),
            metadata=pose_features.pose_metadata(self._skeleton),
        )

    def local_parts(self, manual_dir: epath.Path | None) -> dict[str, dict[str, Root | None]]:
        """The files of labels and of names, and the folder of pictures of each split.

        A file is None if it is missing. If the names of the joints change, the records of both
        splits do.
        """
        labels = {
            "train": self.files.annotations,
            "validation": self.files.validation or self.files.annotations,
        }
        return {
            split: {
                "labels": epath.Path(path) if path and os.path.isfile(path) else None,
                "names": self._names if self._names.is_file() else None,
                "pictures": epath.Path(self.files.images),
            }
            for split, path in labels.items()
        }

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        parts = self.local_parts(None)
        return {
            split: self._require_examples(split, self._generate_examples(split, **parts[split]))
            for split in self.splits_to_prepare(parts)
        }

    def _generate_examples(
        self, split: str, labels: Root, names: Root, pictures: Root
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        photographs, people = annotations.read_labels(
            labels, self._skeleton.joint_names, self.broken
        )
        if self.files.validation is None:
            held_out = held_out_names({photographs[person.image_id].name for person in people})
            people = [
                person
                for person in people
                if (photographs[person.image_id].name in held_out) == (split == "validation")
            ]
        yield from person_examples.read(labels, pictures, photographs, people, self.broken)


def held_out_names(names: Collection[str]) -> set[str]:
    """Chooses the pictures to measure on: about a fifth, at least one, and never all of several.

    A picture's own name decides, without folders, so that pictures can be added, removed, or
    numbered anew without moving others from one split to the other. If folders tell the pictures
    apart, as in `1/left.jpg`, `1/right.jpg`, `2/left.jpg`, the whole name decides. Roboflow's
    copies of a picture, `a_jpg.rf.0123.jpg` and `a_jpg.rf.4567.jpg`, count as one picture.
    """
    keys = {name: _ROBOFLOW_COPY.sub("", name.rpartition("/")[2]) for name in names}
    if len(set(keys.values())) < min(_FEW_NAMES, len(keys)):
        keys = {name: _ROBOFLOW_COPY.sub("", name) for name in names}
    if len(set(keys.values())) == 1:
        keys = {name: name for name in names}
    ranks = {key: _rank(key) for key in keys.values()}
    held_out = {key for key, rank in ranks.items() if rank % _HELD_OUT == 0}
    if len(held_out) in (0, len(ranks)):
        held_out = {min(ranks, key=ranks.get)}
    return {name for name, key in keys.items() if key in held_out}


def _rank(name: str) -> int:
    """A number that looks random and depends only on the name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def _name(files: KeypointFiles) -> str:
    """A name for the records of these files."""
    stem = os.path.splitext(os.path.basename(files.annotations or files.validation))[0]
    readable = re.sub(r"[^A-Za-z0-9]+", "_", stem)[:40]
    return f"{readable}_{hashlib.sha256(repr(files).encode()).hexdigest()[:8]}"
