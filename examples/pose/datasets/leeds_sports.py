"""Reads the Leeds Sports Pose data sets: the official folder or zip file, and its `joints.mat`."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from examples.pose import images
from examples.pose.datasets import official_files, pose_features
from examples.pose.datasets.official_files import DownloadError, Root, download

LABELS_FILE = "joints.mat"

MANUAL_DOWNLOAD_INSTRUCTIONS = """
Put the data set into the manual folder, as the folder `{name}/` (with `images/` and `joints.mat`
in it) or as the official `{name}_dataset.zip`. The official address is {url}, which is tried when
neither is there.
"""


def find_root(dl_manager: tfds.download.DownloadManager, name: str, url: str) -> Root:
    """Finds a data set in the manual folder, or downloads it.

    Args:
        dl_manager: The download manager of `tfds`.
        name: `"lsp"` or `"lspet"`. Looked for are `{name}/`, `{name}_dataset/` and
            `{name}_dataset.zip` in the manual folder, then the manual folder itself.
        url: Where the official zip file is.

    Returns:
        The folder, or place inside a zip file, that holds `images/` and `joints.mat`.

    Raises:
        FileNotFoundError: If the data set is in none of these places.
        ValueError: If a zip file is broken or holds no `joints.mat`.
    """
    try:
        manual_dir = epath.Path(dl_manager.manual_dir)
    except AssertionError as error:  # What tfds raises if the folder is missing or empty.
        searched = str(error).partition(". ")[0]
    else:
        for folder in (manual_dir / name, manual_dir / f"{name}_dataset", manual_dir):
            if (folder / LABELS_FILE).exists():
                return folder
        if (manual_dir / f"{name}_dataset.zip").exists():
            return open_zip(manual_dir / f"{name}_dataset.zip")
        searched = f"It is not in {manual_dir}"
    try:
        return open_zip(download(dl_manager, url))
    except DownloadError as error:
        raise FileNotFoundError(
            f"The data set {name!r} was not found. {searched}. Expected there: the folder "
            f"`{name}/` with `images/` and `{LABELS_FILE}` in it, or the file "
            f"`{name}_dataset.zip`. Downloading {url} failed too ({error}). Get the zip file "
            "elsewhere and pass the folder it is in as `data_dir` (tfds calls it `manual_dir`)."
        ) from None


def open_zip(path: epath.PathLike) -> zipfile.Path:
    """Returns the place inside a zip file that holds `joints.mat`: its top, or one folder down."""
    for folder in official_files.top_folders(official_files.open_zip(path)):
        if (folder / LABELS_FILE).exists():
            return folder
    raise ValueError(f"{os.fspath(path)} holds no {LABELS_FILE}: is it the official zip file?")


def read_labels(root: Root, shape: tuple[int | None, int | None, int | None]) -> np.ndarray:
    """Reads the array `joints` from `joints.mat`.

    Args:
        root: Folder or place in a zip file that holds `joints.mat`.
        shape: The expected shape, with None for the number of images.

    Returns:
        float64 array of this shape, as stored: coordinates count from 1.

    Raises:
        ValueError: If the file cannot be read or the shape differs.
    """
    path = root / LABELS_FILE
    data = path.read_bytes()
    try:
        joints = tfds.core.lazy_imports.scipy.io.loadmat(io.BytesIO(data))["joints"]
    except Exception as error:
        raise ValueError(f"{path} is not a MATLAB file with an array `joints`: {error}") from None
    matches = joints.ndim == 3 and all(
        want in (None, got) for want, got in zip(shape, joints.shape, strict=True)
    )
    if not matches:
        want = [size or "number of images" for size in shape]
        raise ValueError(
            f"`joints` in {path} has shape {list(joints.shape)}, expected {want}. "
            "The labels of lsp are [3, 14, n], those of lspet [14, 3, n]."
        )
    return joints.astype(np.float64)


def image_name(number: int, digits: int) -> str:
    """File name of an image, without extension. Numbers count from 1."""
    return f"im{number:0{digits}d}"


def check_image_count(root: Root, count: int) -> None:
    """Checks that `images/` holds one image per label, so that names and labels go together."""
    folder = root / "images"
    found = sum(entry.name.endswith(".jpg") for entry in folder.iterdir()) if folder.exists() else 0
    if found != count:
        raise FileNotFoundError(
            f"{folder} holds {found} .jpg files, but {root / LABELS_FILE} labels {count}. "
            "Images and labels must come from the same copy of the data set."
        )


def read_picture(root: Root, name: str) -> io.BytesIO | np.ndarray:
    """Reads `images/{name}.jpg` for `tfds`, decoding it once so that a broken file is found here.

    Returns:
        The file as it is if the records' decoder gives the pixels of `images.decode_image`; else
        these pixels, uint8 `[height, width, 3]`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a complete image.
    """
    path = root / "images" / f"{name}.jpg"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing, but {root / LABELS_FILE} has labels for it.")
    data = path.read_bytes()
    image = official_files.decode_rgb(data, path, "JPEG image")
    return io.BytesIO(data) if images.is_plain_jpeg(data) else image


def generate_examples(
    root: Root, joints: np.ndarray, visibility: np.ndarray, indices: Iterable[int], digits: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields `(key, example)` as `tfds` wants them.

    Args:
        root: Folder or place in a zip file that holds `images/`.
        joints: `[num_images, num_joints, 2]`, `(x, y)` counted from 1 as in `joints.mat`.
        visibility: `[num_images, num_joints]`, see `pose_features`.
        indices: Which images, counted from 0.
        digits: Digits of the numbers in file names.
    """
    labelled = visibility[..., np.newaxis] != pose_features.NOT_LABELLED
    joints = np.where(labelled, joints - 1.0, 0.0).astype(np.float32)
    for index in indices:
        name = image_name(index + 1, digits)
        yield (
            name,
            {
                "image": read_picture(root, name),
                "joints": joints[index],
                "visibility": visibility[index].astype(np.uint8),
                "id": name,
            },
        )
