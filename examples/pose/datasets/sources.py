"""Fingerprints of the files that a data set was prepared from, to detect changes.

Labels are compared by content, pictures by names and sizes. Modification times of pictures count
only if their path is the same, because a copy or an unpacked archive has other times.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any

from examples.pose.datasets.official_files import Root, is_picture


def describe(path: Root | None) -> dict[str, Any] | None:
    """The fingerprint of a file, an archive, or all pictures in a folder, as JSON values."""
    if path is None:
        return None
    if path.is_dir():
        return _describe_pictures(path)
    if isinstance(path, zipfile.Path) or path.suffix in (".mat", ".json"):
        return {"place": str(path), "content": _digest([path.read_bytes()])}
    stat = os.stat(path)  # A tar archive, which is not opened.
    return {"place": str(path), "content": str(stat.st_size), "time": str(stat.st_mtime_ns)}


def _describe_pictures(folder: Root) -> dict[str, Any]:
    if isinstance(folder, zipfile.Path):
        archive = folder.root
        inside = (i for i in archive.infolist() if i.filename.startswith(folder.at))
        entries = [(i.filename[len(folder.at) :], i.file_size, 0) for i in inside]
        entries = [entry for entry in entries if is_picture(entry[0])]
        times = [str(os.stat(archive.filename).st_mtime_ns)] if archive.filename else []
    else:
        entries = [entry for entry in _walk(os.fspath(folder)) if is_picture(entry[0])]
        times = sorted(f"{name} {time}" for name, _, time in entries)
    return {
        "place": str(folder),
        "pictures": len(entries),
        "content": _digest(sorted(f"{name} {size}" for name, size, _ in entries)),
        "time": _digest(times),
    }


def _walk(folder: str) -> Iterable[tuple[str, int, int]]:
    """Relative path, size in bytes and modification time in ns of every file in the folder."""
    seen = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:  # A link to a folder above.
            folders.clear()
            continue
        seen.add(real)
        for name in names:
            path = os.path.join(parent, name)
            try:
                stat = os.stat(path)
            except OSError:  # A broken link, for instance.
                continue
            yield os.path.relpath(path, folder), stat.st_size, stat.st_mtime_ns


def _digest(parts: Iterable[bytes | str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part)
        digest.update(b"\0")
    return digest.hexdigest()


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Describes in words what has changed since a split was prepared.

    Missing files are no change, because the prepared records replace them. The exception is
    labels that are missing while their pictures are still there.

    Args:
        then: Fingerprints of the split's parts by name, when it was prepared.
        now: Fingerprints of the same parts now.

    Returns:
        One phrase for each change.
    """
    found = []
    for name, old in then.items():
        new = now.get(name)
        if old is None or (new is None and not (name == "labels" and now.get("pictures"))):
            continue
        if new is None:
            found.append(f"{old['place']} is gone")
        elif new.get("pictures", 0) != old.get("pictures", 0):
            found.append(f"{new['place']} held {old['pictures']} pictures, now {new['pictures']}")
        elif new["content"] != old["content"] or (
            new["place"] == old["place"] and new.get("time") != old.get("time")
        ):
            found.append(f"{'pictures in ' if 'pictures' in new else ''}{new['place']} changed")
    return found
