"""Helpers for tests that change a copy of the small data sets in `dummy_data`."""

import pathlib
import zipfile

from examples.pose import datasets

# Each builder of official files has a folder `dummy_data` beside it.
BUILDERS = pathlib.Path(datasets.__file__).parent
LABELS = {
    "lsp": "joints.mat",
    "lspet": "joints.mat",
    "mpii": "mpii_human_pose_v1_u12_1.mat",
    "coco": "annotations/person_keypoints_train2017.json",
}


def pictures_of(folder):
    """The folder of the pictures of `train`; MPII has the pictures of all splits in one folder."""
    return folder / ("train2017" if folder.name == "coco" else "images")


def first_picture(folder):
    """The first picture, by name."""
    return sorted(pictures_of(folder).iterdir())[0]


def write_zip(source, archive, prefix=""):
    """Writes the content of a folder as a zip file, with `prefix` before its names."""
    with zipfile.ZipFile(archive, "w") as writer:
        for file in sorted(source.rglob("*")):
            writer.write(file, prefix + str(file.relative_to(source)))


def add_system_files(folder):
    """Adds the hidden files that macOS and Windows write beside pictures."""
    for name in ("._im0001.jpg", ".DS_Store", "Thumbs.db", "desktop.ini", "._joints.mat"):
        (folder / name).write_bytes(b"\x00\x05\x16\x07")
