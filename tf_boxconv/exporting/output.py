"""Where an output goes: checked first, written under another name, put in place when complete.

Only an earlier output of the same kind is ever replaced. `Kind.own_files` recognises one.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

_DISK_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of output, and how to tell an earlier one from a user's own files.

    Attributes:
        name: The kind in messages, such as `"an ONNX file written by tf_boxconv.export"`.
        own_files: Takes an existing path. Returns the names of the files that an output of this
            kind wrote there, relative to the path (`{"."}` for a single file), or an empty set if
            the path holds something else.
        suffix: Suffix of the file; `None` for a folder.
        argument: What messages call the path.
        overwrite: What messages tell the caller to pass to replace an earlier output.
    """

    name: str
    own_files: Callable[[Path], Collection[str]]
    suffix: str | None = None
    argument: str = "`path`"
    overwrite: str = "overwrite=True"


def checked(path: str | os.PathLike, kind: Kind, overwrite: bool) -> Path:
    """Returns the absolute path to write to, symbolic links resolved.

    Args:
        path: What the caller wants to write. `~` is the home folder.
        kind: What is to be written.
        overwrite: Whether an earlier output of the same kind may be replaced.

    Raises:
        ValueError: `path` is a URL or has the wrong suffix.
        FileExistsError: `path` is taken by something that will not be replaced.
    """
    if "://" in os.fspath(path):
        raise ValueError(
            f"{kind.argument} must be on this machine: write to a local path and copy from there. "
            f"Received: path='{path}'"
        )
    if kind.suffix is not None and not os.fspath(path).rstrip("/").lower().endswith(kind.suffix):
        raise ValueError(
            f"{kind.argument} must end in '{kind.suffix}' for this format. Received: path='{path}'"
        )
    expanded = os.path.expanduser(path)
    resolved = Path(os.path.realpath(expanded))
    reason = _reason_not_to_write(Path(os.path.abspath(expanded)), resolved, kind, overwrite)
    if reason:
        raise FileExistsError(f"{kind.argument} {reason} Received: path='{path}'")
    return resolved


def _reason_not_to_write(link: Path, path: Path, kind: Kind, overwrite: bool) -> str | None:
    """The rest of a sentence that begins with the name of the argument; `None` to go ahead."""
    if link.is_symlink() and not path.exists():
        return f"is a symbolic link to '{path}', which does not exist."
    if not path.exists():
        return None
    if path == Path.cwd() or path in Path.cwd().parents:
        return "is the current folder or one above it: name a folder inside it."
    if os.path.ismount(path):
        return "is a mount point, which cannot be replaced: name a folder inside it."
    if path.is_dir() and kind.suffix is not None:
        return "is a folder and this format writes a file: it will not be replaced."
    if not path.is_dir() and kind.suffix is None:
        return "is a file and this format writes a folder: it will not be replaced."
    if path.is_dir() and not any(path.iterdir()):
        return None
    if not overwrite:
        return f"exists; {kind.overwrite} replaces {kind.name}, and nothing else."
    return _reason_not_to_replace(path, kind)


def _reason_not_to_replace(path: Path, kind: Kind) -> str | None:
    own = set(kind.own_files(path)) if path.is_dir() or path.is_file() else set()
    if not own:
        return f"exists and is not {kind.name}: it will not be replaced."
    others = sorted(_entries(path) - own) if path.is_dir() else []
    if others:
        named = ", ".join(f"'{name}'" for name in others[:3])
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        return (
            f"holds {kind.name} and other files, which would be lost: {named}{more}. "
            "Move them, or name another folder."
        )
    return None


def _entries(folder: Path) -> set[str]:
    """Relative names of all files, links and empty folders below `folder`."""
    found = set()
    for parent, folders, files in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        here = [os.path.join(parent, name) for name in (*files, *links)]
        if not files and not folders:
            here = [parent]
        found.update(os.path.relpath(name, folder) for name in here)
    return found


@contextlib.contextmanager
def whole(path: Path, check: Callable[[], object] = lambda: None) -> Iterator[Path]:
    """Yields a name beside `path` to write to; it becomes `path` once the body has succeeded.

    If the body fails or is interrupted, what was at `path` is still there, and nothing else is.

    Args:
        path: What to write, absolute.
        check: Called again before `path` is replaced, as the body may have taken long.

    Raises:
        OSError: `path` cannot be written, or the disk is full.
    """
    with contextlib.ExitStack() as cleanup:
        try:
            scratch = _scratch_folder(path, cleanup)
        except OSError as error:
            raise _unwritable(path, error.errno) from error
        written = scratch / path.name
        try:
            yield written
            _flush_to_disk(written)
            check()
            _put_in_place(written, path)
        except Exception as error:
            code = _disk_full(error)
            if code is None:
                raise
            raise _unwritable(path, code) from error


def _scratch_folder(path: Path, cleanup: contextlib.ExitStack) -> Path:
    """Makes a folder beside `path`; `cleanup` removes it, and folders above it if left empty."""
    new = [parent for parent in path.parents if not parent.exists()]
    for parent in reversed(new):
        parent.mkdir(exist_ok=True)
        cleanup.callback(_remove_if_empty, parent)
    scratch = Path(tempfile.mkdtemp(prefix=".tf_boxconv-", dir=path.parent))
    cleanup.callback(shutil.rmtree, scratch, ignore_errors=True)
    return scratch


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def _put_in_place(written: Path, path: Path) -> None:
    """Renames `written` to `path`; a folder there that is not empty ends up in the scratch."""
    try:
        os.replace(written, path)
        return
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    if _exchanged(written, path):
        return
    replaced = written.with_name(f"{path.name}.replaced")
    try:
        path.rename(replaced)
        written.rename(path)
    except BaseException:
        if replaced.exists() and not path.exists():
            replaced.rename(path)
        raise


def _exchanged(a: Path, b: Path) -> bool:
    """Exchanges two paths in one step, where the system can; returns whether it did."""
    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError):
        return False
    names = os.fsencode(a), os.fsencode(b)
    return renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0


def _flush_to_disk(path: Path) -> None:
    """Content must reach the disk before the new name does."""
    files = path.rglob("*") if path.is_dir() else [path]
    for file in files:
        if file.is_file():
            with open(file, "rb") as opened:
                os.fsync(opened.fileno())


def _disk_full(error: Exception) -> int | None:
    """The code of a full disk, which libraries in C++ report in words only."""
    if isinstance(error, OSError):
        return error.errno if error.errno in _DISK_FULL else None
    said = f"{error} {error.__cause__}"
    return next((code for code in _DISK_FULL if os.strerror(code) in said), None)


def _unwritable(path: Path, code: int | None) -> OSError:
    reason = os.strerror(code) if code else "the folder cannot be made"
    # The class is the one that belongs to the code; its message is this sentence alone.
    error = type(OSError(code, ""))(f"'{path}' cannot be written: {reason}. Nothing was changed.")
    error.errno = code
    return error
