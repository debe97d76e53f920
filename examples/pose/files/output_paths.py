"""Checks that a command does not overwrite its own input, however the paths are spelt."""

import os
import unicodedata
from collections.abc import Hashable, Iterable
from pathlib import Path

from examples.pose.cli.errors import UserError


class OutputPathError(UserError):
    """A command was asked to overwrite its input; the message names both."""


def same_file(a, b) -> bool:
    """Whether two paths name the same file, or would after being written.

    Links, `..`, relative paths and hard links are resolved. Names of files that do not exist yet
    are compared ignoring case and Unicode normalization, as on some file systems.
    """
    return identity(a) == identity(b)


def check_outputs(outputs: Iterable[tuple[str, object]], inputs: Iterable) -> None:
    """Checks that no output is an input, another output, a folder or a device.

    Args:
        outputs: Pairs of a name for messages, such as `"--json"`, and a path.
        inputs: Paths of the files that the command reads.

    Raises:
        OutputPathError: An output is one of these.
    """
    read = {identity(path): path for path in inputs}
    written = {}
    for name, path in outputs:
        key = identity(path)
        if os.path.exists(path) and not os.path.isfile(path):
            raise OutputPathError(f"{name} {path} exists and is not a regular file.")
        if key in read:
            raise OutputPathError(
                f"{name} {path} would overwrite the input {read[key]}. Give another name."
            )
        if key in written:
            raise OutputPathError(
                f"{name} {path} and {written[key]} are the same file. Give another name."
            )
        written[key] = f"{name} {path}"


def check_not_inside(name: str, output, folder) -> None:
    """Checks that an output does not replace a file in a folder that the command reads from.

    Args:
        name: Name of the output for messages.
        output: Path of the output.
        folder: The folder, or None.

    Raises:
        OutputPathError: The output exists and lies in the folder or below.
    """
    if folder is None or not os.path.exists(output):
        return
    top = identity(os.path.expanduser(folder))
    if any(identity(parent) == top for parent in Path(os.path.realpath(output)).parents):
        raise OutputPathError(
            f"{name} {output} would overwrite a file in {folder}, which is read. Give another name."
        )


def identity(path) -> Hashable:
    """A value that is equal for two paths if and only if they are of the same file.

    See `same_file`.
    """
    path = os.path.realpath(path)
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        parent, name = os.path.split(path)
        if parent == path:
            return path
        return identity(parent), comparable(name)
    return status.st_dev, status.st_ino


def comparable(name: str) -> str:
    """A file's name, case-folded and normalized, as some file systems compare names."""
    return unicodedata.normalize("NFC", name).casefold()
