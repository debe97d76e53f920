"""Finds a data set's official files: in the manual folder, unpacked or not, or at their address."""

from __future__ import annotations

import dataclasses
import os
import textwrap
import zipfile
from collections.abc import Sequence

import numpy as np
import requests
import tensorflow_datasets as tfds
from etils import epath

from examples.pose import images

# A folder on any file system that epath knows, or the inside of a zip file. Both offer `/`,
# `exists`, `iterdir`, `name`, `read_bytes` and `open`.
Root = epath.Path | zipfile.Path


@dataclasses.dataclass(frozen=True)
class Part:
    """A file or folder of a data set.

    Attributes:
        path: Its path in the unpacked data set, which may begin with a folder that the archive
            does not have.
        archive: Name of the official archive that holds it, a zip or tar file.
        url: Where that archive is.
    """

    path: str
    archive: str
    url: str


class DownloadError(Exception):
    """An official file could not be downloaded."""


def find_part(
    dl_manager: tfds.download.DownloadManager, folders: Sequence[str], part: Part
) -> Root:
    """Finds a part of a data set in the manual folder, or downloads it.

    Args:
        dl_manager: The download manager of `tfds`.
        folders: Where to look in the manual folder; `""` is the manual folder itself.
        part: What to look for: the unpacked file or folder first, then its archive.

    Returns:
        The part, on disk or inside a zip file.

    Raises:
        FileNotFoundError: If it is neither there nor can be downloaded.
        ValueError: If an archive is broken or does not hold it.
    """
    try:
        manual_dir = epath.Path(dl_manager.manual_dir)
    except AssertionError as error:  # What tfds raises if the folder is missing or empty.
        searched = str(error).partition(". ")[0]
    else:
        for folder in folders:
            # The manual folder itself may hold other data sets' folders.
            found = _inside(manual_dir / folder, part.path, deep=folder != "")
            if found is not None:
                return found
            if (manual_dir / folder / part.archive).exists():
                return _open_archive(dl_manager, manual_dir / folder / part.archive, part)
        searched = f"It is not in {manual_dir}"
    try:
        archive = download(dl_manager, part.url)
    except DownloadError as error:
        raise FileNotFoundError(
            f"`{part.path}` was not found. {searched}. Expected there, or in its folder "
            f"`{folders[0]}`: `{part.path}`, or the official `{part.archive}`. Downloading "
            f"{part.url} failed too ({error}). Get the file elsewhere and pass the folder it is "
            "in as `data_dir` (tfds calls it `manual_dir`)."
        ) from None
    return _open_archive(dl_manager, archive, part)


def download(dl_manager: tfds.download.DownloadManager, url: str) -> epath.Path:
    """Downloads a file; whatever goes wrong becomes a `DownloadError`."""
    try:
        # tfds tries for minutes. Without a network, or the file, this says so within seconds.
        requests.head(url, timeout=10, allow_redirects=True).raise_for_status()
        return epath.Path(dl_manager.download(url))
    except Exception as error:
        reason = textwrap.shorten(str(error), 100, placeholder="...")
        raise DownloadError(f"{type(error).__name__}: {reason}") from None


def _open_archive(
    dl_manager: tfds.download.DownloadManager, archive: epath.Path, part: Part
) -> Root:
    if archive.is_dir():  # Downloads stand in for unpacked folders in the tests of tfds.
        root = archive
    elif part.archive.endswith(".zip"):
        root = open_zip(archive)
    else:
        try:
            root = epath.Path(dl_manager.extract(archive))
        except Exception as error:  # Of tarfile, gzip or zlib, wrapped by tfds.
            raise ValueError(
                f"{archive} cannot be unpacked ({error}). Remove it and get it again."
            ) from None
    found = _inside(root, part.path)
    if found is None:
        raise ValueError(f"{archive} holds no {part.path}: is it the official {part.archive}?")
    return found


def open_zip(path: epath.PathLike) -> zipfile.Path:
    """Returns the inside of a zip file.

    Raises:
        ValueError: If it is no complete zip file.
    """
    try:
        return zipfile.Path(zipfile.ZipFile(epath.Path(path).open("rb")))
    except zipfile.BadZipFile as error:
        raise ValueError(
            f"{os.fspath(path)} is not a complete zip file ({error}). Remove it and get it again."
        ) from None


def top_folders(root: Root) -> list[Root]:
    """`root` itself and the folders in it, by name: an archive may begin with one of its own."""
    folders = sorted((entry for entry in root.iterdir() if entry.is_dir()), key=lambda e: e.name)
    return [root, *folders]


def _inside(root: Root, path: str, deep: bool = True) -> Root | None:
    """`path` in `root`, or `deep` one folder down, or its last name there; None if nowhere."""
    if not root.is_dir():
        return None
    for folder in top_folders(root) if deep else [root]:
        for candidate in (folder / path, folder / path.rpartition("/")[2]):
            if candidate.exists():
                return candidate
    return None


def read_rgb(path: Root, labels: str | os.PathLike[str]) -> np.ndarray:
    """Reads an image as uint8 RGB `[height, width, 3]`, see `images.decode_image`.

    Args:
        path: The file.
        labels: What names the file, for the message if it is missing.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a complete image.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing, but {labels} has labels for it.")
    return decode_rgb(path.read_bytes(), path)


def decode_rgb(data: bytes, path: Root, kind: str = "image") -> np.ndarray:
    """Decodes the content of an image file as `images.decode_image` does.

    Raises:
        ValueError: If it is not a complete image.
    """
    try:
        return images.decode_image(data, path)
    except images.ImageError as error:
        reason = str(error).removeprefix(f"{path}: ").rstrip(".")
        raise ValueError(
            f"{path} is not a complete {kind} ({reason}). Replace it with an intact copy."
        ) from None
