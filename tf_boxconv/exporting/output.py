"""Where an export goes: checked first, written under another name, and put in place when whole."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


def checked(path: str | os.PathLike, suffix: str | None, overwrite: bool) -> Path:
    """Returns `path` if an export may be written there.

    Args:
        path: What the caller wants to write.
        suffix: What a file's name must end in; `None` for a folder.
        overwrite: Whether something of the same kind may be there.
    """
    path = Path(os.path.abspath(path))
    if suffix is not None and path.suffix != suffix:
        raise ValueError(f"`path` must end in '{suffix}' for this format. Received: path='{path}'")
    if not path.exists():
        return path
    if path.is_dir() != (suffix is None):
        kinds = ("a file", "a folder") if suffix is None else ("a folder", "a file")
        raise FileExistsError(
            f"`path` is {kinds[0]} and this format writes {kinds[1]}: it will not be replaced. "
            f"Received: path='{path}'"
        )
    if not overwrite and not (path.is_dir() and not any(path.iterdir())):
        raise FileExistsError(f"`path` exists; overwrite=True replaces it. Received: path='{path}'")
    return path


@contextlib.contextmanager
def whole(path: Path, overwrite: bool) -> Iterator[Path]:
    """Yields a name beside `path` to write to; it becomes `path` once the body has succeeded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        written = scratch / path.name
        yield written
        checked(path, path.suffix if written.is_file() else None, overwrite)
        if path.is_dir():
            path.rename(scratch / "replaced")
        os.replace(written, path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
