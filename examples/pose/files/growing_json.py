"""Writes a JSON file that is valid after every item added to its list."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from examples.pose.files.atomic_write import atomic_write


class GrowingJson:
    """A JSON file with a list that grows, alone or as the last value of an object.

    The file is complete JSON after every `extend`, even if the process is killed or the disk is
    full. Each `extend` writes its items and the end of the file over the old end, all or none of
    them. The first one creates or replaces the file.

    Args:
        path: The file.
        head: The object's entries before the list.
        name: The list's key in the object. None: the file holds the list alone.
    """

    def __init__(self, path, head: Mapping[str, Any], name: str | None):
        self.path = Path(path)
        entries = "".join(f"\n  {json.dumps(k)}: {json.dumps(v)}," for k, v in head.items())
        self._head = "[" if name is None else f"{{{entries}\n  {json.dumps(name)}: ["
        self._tail = b"\n]\n" if name is None else b"\n  ]\n}\n"
        self._file = None
        self._tail_position = 0  # In bytes.

    @property
    def is_written(self) -> bool:
        """Whether this object wrote the file."""
        return self._file is not None

    def write_empty(self) -> None:
        """Writes the file with an empty list. No item can be added afterwards.

        Raises:
            OSError: The file cannot be written.
        """
        self._create("")

    def extend(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Adds items to the list. Without items, it does nothing.

        Raises:
            OSError: The items cannot be written. The file still holds those before them.
        """
        if not items:
            return
        text = ",".join(f"\n    {json.dumps(item, allow_nan=False)}" for item in items)
        if self._file is None:
            self._create(text)
            return
        content = f",{text}".encode()
        try:
            self._write(content + self._tail)
        except OSError:
            self._write(self._tail)  # Overwrites existing bytes, so it needs no free space.
            os.ftruncate(self._file.fileno(), self._tail_position + len(self._tail))
            raise
        self._tail_position += len(content)

    def _create(self, item: str) -> None:
        start = f"{self._head}{item}".encode()
        with atomic_write(self.path) as temporary:
            temporary.write_bytes(start + self._tail)
        self._file = open(self.path, "r+b", buffering=0)  # noqa: SIM115
        self._tail_position = len(start)

    def _write(self, content: bytes) -> None:
        """Writes `content` over the old tail.

        A single `pwrite` is not interrupted by a signal. If the system writes only a part, another
        call writes the rest.
        """
        written = 0
        while written < len(content):
            rest = content[written:]
            written += os.pwrite(self._file.fileno(), rest, self._tail_position + written)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._file is not None:
            self._file.close()


def holds_only(path, names: set[str]) -> bool:
    """Whether a file is a JSON object with exactly these keys, or a list of such objects."""
    try:
        content = json.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    objects = content if isinstance(content, list) else [content]
    return all(isinstance(o, dict) and set(o) == names for o in objects)
