"""Reads the Leeds Sports Pose data sets from the official folder or zip file.

Labels are in `joints.mat`, beside the pictures or beside their folder `images/`. Coordinates in
this file count from 1.
"""

from __future__ import annotations

import abc
import dataclasses
import io
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from examples.pose.datasets import official_files, pose_features, skeletons
from examples.pose.datasets.official_files import DownloadError, PictureFolder, Root, download
from examples.pose.datasets.preparation import Broken, FromFiles
from examples.pose.images import image_files

LABELS_FILE = "joints.mat"


@dataclasses.dataclass(frozen=True)
class Official:
    """Names and contents of the official copies of a data set.

    Attributes:
        name: `"lsp"` or `"lspet"`.
        folders: Possible names of the folder that holds `joints.mat` and the pictures.
        archives: Possible names of the zip file.
        url: Address of the official zip file.
        homepage: Address of the data set's description.
        shape: Shape of the array in `joints.mat`, with None for the number of images.
        digits: Number of digits in the names of pictures.
    """

    name: str
    folders: tuple[str, ...]
    archives: tuple[str, ...]
    url: str
    homepage: str
    shape: tuple[int | None, int | None, int | None]
    digits: int

    @property
    def instructions(self) -> str:
        """The message of `tfds` if the files are missing."""
        return f"""
        Put the data set into the manual folder, as the folder `{self.name}/` (with `images/` and
        `{LABELS_FILE}` in it) or as the official `{self.archives[0]}`. The folders
        {", ".join(self.folders[1:])} and the archives {", ".join(self.archives[1:])} are found too.
        If none of these is there, {self.url}, the official address, is tried.
        """


class LeedsSportsBuilder(FromFiles, tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Base class of the builders of both data sets."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}
    official: Official

    @abc.abstractmethod
    def _indices(self, count: int) -> dict[str, range]:
        """The image indices of each split, from 0, if there are `count` images in all."""

    @abc.abstractmethod
    def _coordinates_and_flags(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Splits the array of `joints.mat` into coordinates `[n, 14, 2]` and flags `[n, 14]`."""

    @abc.abstractmethod
    def _visibility(self, flags: np.ndarray) -> np.ndarray:
        """Converts the joints' flags, 0 or 1, to visibility as in `pose_features`."""

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=pose_features.pose_features(),
            metadata=pose_features.pose_metadata(),
            homepage=self.official.homepage,
        )

    def local_parts(self, manual_dir: epath.Path | None) -> dict[str, dict[str, Root | None]]:
        """The parts of each split in the manual folder."""
        root = find_local(manual_dir, self.official)
        if root is None:
            parts = {"labels": None, "pictures": _pictures_alone(manual_dir, self.official)}
        else:
            parts = {"labels": root / LABELS_FILE, "pictures": picture_folder(root)}
        return dict.fromkeys(self.all_splits, parts)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        root = find_root(dl_manager, self.official)
        coordinates, flags = self._coordinates_and_flags(read_labels(root, self.official.shape))
        joints, visibility, usable = check_labels(
            root, coordinates, flags, self._visibility, self.broken
        )
        pictures = PictureFolder(picture_folder(root))
        names = image_names(pictures, len(joints), self.official.digits)
        check_image_count(root, pictures, len(joints))
        splits = self._indices(len(joints))
        # Splits that are not wanted are prepared too if the copy has any of their pictures.
        with_pictures = {
            s for s, indices in splits.items() if any(pictures.find(names[i]) for i in indices)
        }
        to_prepare = with_pictures | set(self.all_splits if self.wanted is None else self.wanted)
        return {
            split: self._require_examples(
                split,
                self._generate_examples(
                    root, pictures, names, joints, visibility, [i for i in indices if usable[i]]
                ),
            )
            for split, indices in splits.items()
            if split in to_prepare
        }

    def _generate_examples(
        self,
        root: Root,
        pictures: PictureFolder,
        names: Sequence[str],
        joints: np.ndarray,
        visibility: np.ndarray,
        indices: Iterable[int],
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for index in indices:
            try:
                image = read_picture(root, pictures, names[index], len(joints))
            except (ValueError, FileNotFoundError) as error:
                self.broken.add(error)
                continue
            yield (
                names[index],
                {
                    "image": image,
                    "joints": joints[index],
                    "visibility": visibility[index],
                    "id": names[index],
                },
            )


def find_local(manual_dir: epath.Path | None, official: Official) -> Root | None:
    """Finds a data set in the manual folder: first unpacked, then as an archive.

    Returns:
        The folder that holds `joints.mat`, on disk or in a zip file, or None.

    Raises:
        ValueError: A zip file is broken or has no `joints.mat`.
    """
    if manual_dir is None:
        return None
    for name in official.folders:
        if (manual_dir / name).is_dir():
            for folder in official_files.top_folders(manual_dir / name):
                if (folder / LABELS_FILE).exists():
                    return folder
    if (manual_dir / LABELS_FILE).exists():
        return manual_dir
    for folder in (manual_dir, *(manual_dir / name for name in official.folders)):
        for name in official.archives:
            if (folder / name).exists():
                return open_zip(folder / name)
    return None


def _pictures_alone(manual_dir: epath.Path | None, official: Official) -> Root | None:
    """Finds the pictures of a data set whose `joints.mat` is missing. Returns a folder or None."""
    for folder in (*official.folders, "") if manual_dir is not None else ():
        if (manual_dir / folder / "images").is_dir():
            return manual_dir / folder / "images"
    return None


def find_root(dl_manager: tfds.download.DownloadManager, official: Official) -> Root:
    """Finds a data set in the manual folder, or downloads it.

    Returns:
        The folder that holds `joints.mat`, on disk or in a zip file.

    Raises:
        FileNotFoundError: The data set is not there and cannot be downloaded.
        ValueError: A zip file is broken or has no `joints.mat`.
    """
    manual_dir, searched = official_files.manual_folder_of(dl_manager)
    root = find_local(manual_dir, official)
    if root is not None:
        return root
    try:
        return open_zip(download(dl_manager, official.url))
    except DownloadError as error:
        raise FileNotFoundError(
            f"The data set {official.name!r} was not found. {searched}. Expected there: the folder "
            f"`{official.name}/` with `images/` and `{LABELS_FILE}` in it, or the file "
            f"`{official.archives[0]}`. Downloading {official.url} failed too ({error}). Get the "
            "zip file elsewhere and pass the folder it is in as `data_dir` (tfds calls it "
            "`manual_dir`)."
        ) from None


def open_zip(path: epath.PathLike) -> zipfile.Path:
    """The folder in a zip file that holds `joints.mat`: its root, or a folder one level down."""
    for folder in official_files.top_folders(official_files.open_zip(path)):
        if (folder / LABELS_FILE).exists():
            return folder
    raise ValueError(f"{os.fspath(path)} holds no {LABELS_FILE}: is it the official zip file?")


def picture_folder(root: Root) -> Root:
    """The folder of the pictures: `images/`, or in some copies the same as for `joints.mat`."""
    return root / "images" if (root / "images").is_dir() else root


def read_labels(root: Root, shape: tuple[int | None, int | None, int | None]) -> np.ndarray:
    """Reads the array `joints` from `joints.mat`.

    Args:
        root: Folder, on disk or in a zip file, that holds `joints.mat`.
        shape: The expected shape, with None for the number of images.

    Returns:
        float64 array of this shape. Coordinates count from 1.

    Raises:
        ValueError: The file cannot be read or the shape differs.
    """
    path = root / LABELS_FILE
    joints = np.asarray(
        official_files.read_matlab(path, "joints", "a MATLAB file with an array `joints`")
    )
    matches = joints.ndim == 3 and all(
        expected in (None, size) for expected, size in zip(shape, joints.shape, strict=True)
    )
    if not matches or joints.dtype.kind not in "iufb":
        expected = [size or "number of images" for size in shape]
        raise ValueError(
            f"`joints` in {path} has shape {list(joints.shape)} ({joints.dtype}), expected numbers "
            f"of shape {expected}. The labels of lsp are [3, 14, n], those of lspet [14, 3, n]."
        )
    return joints.astype(np.float64)


def check_labels(
    root: Root,
    coordinates: np.ndarray,
    flags: np.ndarray,
    visibility_of: Callable[[np.ndarray], np.ndarray],
    broken: Broken,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Checks labels and converts them to joints and visibility as in `pose_features`.

    A joint is not labelled if its coordinates are NaN (a missing value in MATLAB) or (0, 0) (before
    the first pixel).

    Args:
        root: Folder, on disk or in a zip file, that holds `joints.mat`.
        coordinates: `[num_images, num_joints, 2]`, `(x, y)` counted from 1.
        flags: `[num_images, num_joints]`.
        visibility_of: Converts flags to visibility.
        broken: Collects images with a flag other than 0 and 1, or with a joint far outside any
            picture.

    Returns:
        joints, visibility, and bool `[num_images]`: whether an image's labels can be used.
    """
    outside = (np.abs(coordinates) > official_files.LARGEST_SIDE).any(axis=-1)
    wrong_flags = ~np.isin(flags, (0, 1))
    for name, values, invalid, expected in (
        ("position", coordinates, outside, "one in or near a picture"),
        ("third value", flags, wrong_flags, "0 or 1"),
    ):
        for image in np.flatnonzero(invalid.any(axis=-1)):
            joint = np.argmax(invalid[image])
            broken.add(
                f"{root / LABELS_FILE}: the {name} of joint {joint + 1} of image {image + 1} is "
                f"{values[image, joint]}, expected {expected}."
            )
    known = ~np.isnan(coordinates).any(axis=-1) & (coordinates != 0).any(axis=-1)
    visibility = np.where(known, visibility_of(flags), skeletons.NOT_LABELLED).astype(np.uint8)
    labelled = visibility[..., np.newaxis] != skeletons.NOT_LABELLED
    usable = ~(outside | wrong_flags).any(axis=-1)
    joints = np.where(labelled & usable[:, None, None], coordinates - 1.0, 0.0).astype(np.float32)
    return joints, visibility, usable


def image_name(number: int, digits: int) -> str:
    """File name of an image, without extension. Numbers count from 1."""
    return f"im{number:0{digits}d}"


def _numbered(pictures: PictureFolder) -> dict[int, str]:
    """Names, without suffix, of the pictures called `im` and a number, by number."""
    matches = (re.fullmatch(r"im(\d+)", stem) for stem in pictures.pictures())
    return {int(match[1]): match[0] for match in sorted(filter(None, matches), key=lambda m: m[0])}


def image_names(pictures: PictureFolder, count: int, digits: int) -> list[str]:
    """The names, without suffix, of the labelled images, in the order of the labels.

    These are `im1` to `im{count}`, padded with zeros. Only `hr-lspet`, which has PNG files, may
    have gaps in the numbers. There the n-th label belongs to the n-th picture.
    """
    numbered = _numbered(pictures)
    if (
        len(numbered) == count
        and max(numbered) > count
        and all(
            pictures.pictures()[name].name.lower().endswith(".png") for name in numbered.values()
        )
    ):
        return [numbered[number] for number in sorted(numbered)]
    return [image_name(number, digits) for number in range(1, count + 1)]


def _suffix(pictures: PictureFolder) -> str:
    return next((path.suffix for path in pictures.pictures().values()), ".jpg")


def _holds(pictures: PictureFolder) -> str:
    """A phrase that says how many pictures a folder holds."""
    return f"{pictures.root} holds {len(_numbered(pictures))} {_suffix(pictures)} files"


def check_image_count(root: Root, pictures: PictureFolder, count: int) -> None:
    """Checks that there are no more pictures than labels.

    Raises:
        FileNotFoundError: There are more, so pictures and labels belong to different copies.
    """
    if len(_numbered(pictures)) > count:
        raise FileNotFoundError(
            f"{_holds(pictures)}, but {root / LABELS_FILE} labels {count}. "
            "Pictures and labels must come from the same copy of the data set."
        )


def read_picture(
    root: Root, pictures: PictureFolder, name: str, count: int
) -> io.BytesIO | np.ndarray:
    """Reads a picture for `tfds`. Decodes it once to detect a broken file.

    Args:
        root: Folder, on disk or in a zip file, that holds `joints.mat`.
        pictures: The pictures.
        name: The picture's name, without suffix.
        count: Expected number of pictures, for messages.

    Returns:
        The content of the file if it is a plain JPEG, which the decoder of the records reads
        exactly as `image_files.decode_image` does. Otherwise the decoded pixels, uint8
        `[height, width, 3]`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not a complete picture.
    """
    path = pictures.find(name)
    if path is None:
        raise FileNotFoundError(
            f"{pictures.root / name}{_suffix(pictures)} is missing: {_holds(pictures)}, but "
            f"{root / LABELS_FILE} labels {count}."
        )
    data = official_files.read_bytes(path)
    image = official_files.decode_rgb(data, path)
    return io.BytesIO(data) if image_files.is_plain_jpeg(data) else image
