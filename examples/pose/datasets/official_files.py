"""Finds a data set's official files: in the manual folder, unpacked or in an archive, or online.

The manual folder is the folder that the user gives as `data_dir`; `tfds` calls it `manual_dir`.
"""

from __future__ import annotations

import dataclasses
import errno
import functools
import io
import os
import pathlib
import textwrap
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import requests
import tensorflow as tf
import tensorflow_datasets as tfds
from etils import epath

from examples.pose.files.output_paths import comparable
from examples.pose.images import image_files

# A path on any file system of epath, or in a zip file. Both kinds offer `/`, `exists`, `iterdir`,
# `name`, `read_bytes` and `open`.
Root = epath.Path | zipfile.Path
# Errors that say nothing about the content of a file.
_DISK_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO}
_TENSORFLOW_DISK_FAULTS = {
    tf.errors.ResourceExhaustedError: errno.ENOSPC,
    tf.errors.PermissionDeniedError: errno.EACCES,
}


@dataclasses.dataclass(frozen=True)
class Part:
    """A file or folder of a data set.

    Attributes:
        path: Its path in the unpacked data set. It may begin with a folder that the archive lacks.
        archive: Name of the official archive that holds it, a zip or tar file.
        url: Address of that archive.
    """

    path: str
    archive: str
    url: str


class DownloadError(Exception):
    """An official file could not be downloaded."""


def manual_folder(data_dir: str | os.PathLike[str] | None) -> str | None:
    """The absolute path of the user's folder of official files, or None if none was given.

    Raises:
        ValueError: `data_dir` is a file, or cannot be read.
    """
    if data_dir is None or os.fspath(data_dir) == "":
        return None
    folder = os.path.abspath(os.path.expanduser(os.fspath(data_dir)))
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise ValueError(
            f"`data_dir` must be a folder, got the file {folder}. Give the folder that holds it."
        )
    try:
        with os.scandir(folder):
            return folder
    except FileNotFoundError:
        return folder  # Not an error yet: if the records are prepared, the folder is not needed.
    except OSError as error:
        raise ValueError(f"`data_dir` {folder} cannot be read: {error.strerror}.") from None


def manual_folder_of(
    dl_manager: tfds.download.DownloadManager,
) -> tuple[epath.Path | None, str]:
    """The manual folder, or None if it is missing or empty, and a sentence for error messages.

    The sentence says that the files are not in this folder.
    """
    try:
        manual_dir = epath.Path(dl_manager.manual_dir)
    except AssertionError as error:  # From tfds: the folder is missing or empty.
        return None, str(error).partition(". ")[0]
    return manual_dir, f"It is not in {manual_dir}"


def find_local(manual_dir: epath.Path | None, folders: Sequence[str], part: Part) -> Root | None:
    """Finds a part of a data set in the manual folder. Arguments as in `find_part`.

    Returns:
        The part, on disk or in a zip file; the tar file that holds it; or None.

    Raises:
        ValueError: A zip file is broken or does not hold the part.
    """
    for folder in folders if manual_dir is not None else ():
        # Subfolders of the manual folder itself may belong to other data sets. Do not search them.
        found = _inside(manual_dir / folder, part.path, deep=folder != "")
        if found is not None:
            return found
        archive = manual_dir / folder / part.archive
        if archive.exists():
            return _part_of_zip(archive, part) if part.archive.endswith(".zip") else archive
    return None


def find_part(
    dl_manager: tfds.download.DownloadManager, folders: Sequence[str], part: Part
) -> Root:
    """Finds a part of a data set in the manual folder, or downloads it.

    Args:
        dl_manager: The download manager of `tfds`.
        folders: Folders of the manual folder to search; `""` is the manual folder itself.
        part: The part to find. The unpacked file or folder is preferred to its archive.

    Returns:
        The part, on disk or in a zip file.

    Raises:
        FileNotFoundError: The part is not there and cannot be downloaded.
        ValueError: An archive is broken or does not hold the part.
    """
    manual_dir, searched = manual_folder_of(dl_manager)
    found = find_local(manual_dir, folders, part)
    if found is not None and found.name == part.archive:
        return _open_archive(dl_manager, found, part)
    if found is not None:
        return found
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
    """Downloads a file. Any failure raises a `DownloadError`."""
    try:
        # tfds retries for minutes. This fails within seconds if the network or file is missing.
        requests.head(url, timeout=10, allow_redirects=True).raise_for_status()
        return epath.Path(dl_manager.download(url))
    except Exception as error:
        reason = textwrap.shorten(str(error), 100, placeholder="...")
        raise DownloadError(f"{type(error).__name__}: {reason}") from None


def _open_archive(
    dl_manager: tfds.download.DownloadManager, archive: epath.Path, part: Part
) -> Root:
    if not archive.is_dir() and part.archive.endswith(".zip"):
        return _part_of_zip(archive, part)
    root = archive  # In the tests of tfds, a "download" is a folder that is already unpacked.
    if not archive.is_dir():
        try:
            root = epath.Path(dl_manager.extract(archive))
        except Exception as error:  # From tarfile, gzip or zlib, wrapped by tfds.
            if fault := disk_fault(error):
                raise fault from None
            reason = textwrap.shorten(str(error), 200, placeholder="...")
            raise ValueError(
                f"{archive} cannot be unpacked ({reason}). Remove it and get it again."
            ) from None
    return _expect_inside(root, archive, part)


def _part_of_zip(archive: epath.Path, part: Part) -> Root:
    return _expect_inside(open_zip(archive), archive, part)


def _expect_inside(root: Root, archive: epath.Path, part: Part) -> Root:
    found = _inside(root, part.path)
    if found is None:
        raise ValueError(f"{archive} holds no {part.path}: is it the official {part.archive}?")
    return found


def open_zip(path: epath.PathLike) -> zipfile.Path:
    """Opens a zip file and returns its root folder.

    Raises:
        ValueError: It is not a complete zip file.
    """
    try:
        return zipfile.Path(zipfile.ZipFile(epath.Path(path).open("rb")))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        if fault := disk_fault(error):
            raise ValueError(f"{os.fspath(path)} cannot be read: {fault.strerror}.") from None
        raise ValueError(
            f"{os.fspath(path)} is not a complete zip file ({error}). Remove it and get it again."
        ) from None


def disk_fault(error: BaseException | None) -> OSError | None:
    """Returns the fault of a disk, or of permissions, that caused an error; None if none did."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _DISK_FAULTS:
            return error
        for kind, number in _TENSORFLOW_DISK_FAULTS.items():
            if isinstance(error, kind):
                return OSError(number, os.strerror(number))
        error = error.__cause__ or error.__context__
    return None


def top_folders(root: Root) -> list[Root]:
    """`root` and the folders in it, sorted by name. An archive may wrap its content in a folder."""
    # Skips the folder `__MACOSX` that macOS adds to zip files, with a file `._NAME` for each NAME.
    folders = [e for e in root.iterdir() if e.is_dir() and not e.name.startswith((".", "__MACOSX"))]
    return [root, *sorted(folders, key=lambda entry: entry.name)]


def _inside(root: Root, path: str, deep: bool = True) -> Root | None:
    """Finds `path`, or its last component, in `root` or, if `deep`, in a subfolder of it."""
    if not root.is_dir():
        return None
    for folder in top_folders(root) if deep else [root]:
        for candidate in (folder / path, folder / path.rpartition("/")[2]):
            if candidate.exists():
                return candidate
    return None


def read_matlab(path: Root, variable: str, expected: str, **options: Any) -> Any:
    """Reads a variable from a MATLAB file.

    Args:
        path: The file.
        variable: The variable's name.
        expected: Description of the expected file, for the message.
        **options: Arguments of `scipy.io.loadmat`.

    Raises:
        ValueError: The file cannot be read, or has no such variable.
    """
    try:
        data = path.read_bytes()
        content = tfds.core.lazy_imports.scipy.io.loadmat(io.BytesIO(data), **options)
    except NotImplementedError:
        raise ValueError(
            f"{path} is not {expected}: files of MATLAB 7.3 cannot be read here. Save it again in "
            "MATLAB with `save(..., '-v7')`."
        ) from None
    except Exception as error:  # scipy raises many kinds of error for other files.
        reason = textwrap.shorten(str(error), 200, placeholder="...") or type(error).__name__
        raise ValueError(f"{path} is not {expected}: {reason}") from None
    if variable not in content:
        names = ", ".join(name for name in content if not name.startswith("__")) or "nothing"
        raise ValueError(f"{path} is not {expected}: it holds {names}.")
    return content[variable]


# Largest width or height of a picture in pixels, the limit of JPEG.
LARGEST_SIDE = 65535

_PICTURE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".avif"),
)


def is_picture(path: str) -> bool:
    """Whether a path names a picture. Hidden files and those of macOS archives do not count."""
    *folders, name = pathlib.PurePosixPath(path).parts or ("",)
    hidden = name.startswith(".") or "__MACOSX" in folders
    return not hidden and name.lower().endswith(_PICTURE_SUFFIXES)


class PictureFolder:
    """Finds pictures in a folder or zip file by name, with any image suffix in any case.

    Args:
        root: The folder.
    """

    def __init__(self, root: Root):
        self.root = root
        self._listings: dict[str, dict[str, Root]] = {}

    def pictures(self, folder: str = "") -> dict[str, Root]:
        """The pictures in the subfolder `folder`, by `picture_key` of their name."""
        if folder not in self._listings:
            self._listings[folder] = dict(self._list(folder))
        return self._listings[folder]

    def _list(self, folder: str) -> Iterator[tuple[str, Root]]:
        place = self._place(folder)
        if place is not None:
            # In reverse order, so that the alphabetically first of several suffixes wins.
            for entry in sorted(place.iterdir(), key=lambda e: e.name, reverse=True):
                if is_picture(entry.name):
                    yield picture_key(entry.name), entry

    def _place(self, folder: str) -> Root | None:
        """Finds a subfolder. Paths that differ only in case or Unicode form match too."""
        if (self.root / folder).is_dir():
            return self.root / folder
        place = self.root
        for part in folder.split("/"):
            inside = [
                e for e in place.iterdir() if e.is_dir() and comparable(e.name) == comparable(part)
            ]
            if len(inside) != 1:
                return None
            (place,) = inside
        return place

    def exact(self, name: str) -> Root | None:
        """The picture with exactly this name, which may include folders, or None."""
        path = self.root / name
        return path if path.exists() and not path.is_dir() else None

    def find(self, name: str) -> Root | None:
        """Finds a picture. Names that differ only in suffix, case or Unicode form match too."""
        folder, _, last = name.rpartition("/")
        return self.exact(name) or self.pictures(folder).get(picture_key(last))

    def find_below(self, name: str) -> Root | None:
        """The picture in any subfolder whose path ends with `name`, if there is only one."""
        wanted = tuple(picture_key(name).split("/"))
        found = [path for parts, path in self._below if parts[-len(wanted) :] == wanted]
        return found[0] if len(found) == 1 else None

    @functools.cached_property
    def _below(self) -> list[tuple[tuple[str, ...], Root]]:
        return list(_walk(self.root, ()))


def _walk(folder: Root, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Root]]:
    """The pictures below a folder, each after the components of its path, as by `picture_key`.

    Hidden folders, such as those of thumbnails, do not count.
    """
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        if entry.is_dir() and entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(entry, (*above, comparable(entry.name)))
        elif is_picture(entry.name):
            yield (*above, picture_key(entry.name)), entry


def picture_key(name: str) -> str:
    """A picture's name for comparison: `comparable`, without the suffix of a picture."""
    return comparable(name.rpartition(".")[0] if is_picture(name) else name)


def read_rgb(path: Root, labels: str | os.PathLike[str], turn: bool = True) -> np.ndarray:
    """Reads an image as uint8 RGB `[height, width, 3]`, see `image_files.decode_image`.

    Args:
        path: The file.
        labels: The file of labels that names the image, for the message if the image is missing.
        turn: Whether to apply the EXIF orientation.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not a complete image.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing, but {labels} has labels for it.")
    return decode_rgb(read_bytes(path), path, turn)


def read_bytes(path: Root) -> bytes:
    """Reads a file, on disk or in a zip file.

    Raises:
        ValueError: The file is damaged.
    """
    try:
        return path.read_bytes()
    except Exception as error:  # zipfile raises many kinds of error for damaged files.
        if fault := disk_fault(error):
            raise ValueError(f"{path} cannot be read: {fault.strerror}.") from None
        reason = str(error) or type(error).__name__
        raise ValueError(
            f"{path} cannot be read ({reason}). Replace it with an intact copy."
        ) from None


def decode_rgb(data: bytes, path: Root, turn: bool = True) -> np.ndarray:
    """Decodes the content of an image file as `image_files.decode_image` does.

    Raises:
        ValueError: The content is not a complete image.
    """
    try:
        return image_files.decode_image(data, path, turn)
    except image_files.ImageError as error:
        reason = str(error).removeprefix(f"{path}: ").rstrip(".")
        raise ValueError(
            f"{path} is not a complete image ({reason}). Replace it with an intact copy."
        ) from None
