"""Atomic writes: a file is replaced by the complete new content or not at all."""

import contextlib
import errno
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any


@contextlib.contextmanager
def atomic_write(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary path beside `path`, and renames it to `path` if the `with` block succeeds.

    If `path` is a symbolic link, the file that it links to is replaced.

    Raises:
        OSError: The file cannot be written. Its `filename` is `path`. The old file is unchanged.
    """
    temporary = partial_path(path)
    try:
        if path.exists() and not path.is_file():  # The rename would replace a device.
            raise FileExistsError(errno.EEXIST, "exists and is not a regular file")
        temporary.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())  # The rename must not reach the disk before the content.
        os.replace(temporary, os.path.realpath(path))
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def partial_path(path: pathlib.Path) -> pathlib.Path:
    """The temporary path of `atomic_write`, always the same, so leftovers do not accumulate."""
    target = pathlib.Path(os.path.realpath(path))
    return target.with_name(f".partial-{target.name}")


def write_json(path: pathlib.Path, value: Mapping[str, Any]) -> None:
    """Writes `value` to `path` as indented JSON, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
