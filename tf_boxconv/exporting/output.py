"""Writes a file or folder atomically, and never replaces files that came from elsewhere.

`resolved_destination` raises unless a path may be written. `atomic` provides a temporary path and
renames it when the output is complete. Only an earlier output of the same kind, which
`Kind.own_files` recognises, can be replaced.
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
    """A kind of output.

    Attributes:
        name: The name of the output in messages, with an article, such as
            `"an ONNX file written by tf_boxconv.export"`.
        own_files: Function that takes an existing path. If there is an earlier output of this
            kind, it returns the names of its files, relative to the path (`{"."}` if the output
            is a single file). Otherwise it returns an empty set.
        suffix: Suffix of the file; `None` if the output is a folder.
        argument: The name in messages of the argument or option with the path.
        overwrite: The name in messages of the argument or option that allows replacing an earlier
            output.
    """

    name: str
    own_files: Callable[[Path], Collection[str]]
    suffix: str | None = None
    argument: str = "`path`"
    overwrite: str = "overwrite=True"


def resolved_destination(path: str | os.PathLike, kind: Kind, overwrite: bool) -> Path:
    """Returns the absolute path to write to, with symbolic links resolved.

    Args:
        path: The path that the user gave. `~` is the home folder.
        kind: The kind of output.
        overwrite: Whether an earlier output of the same kind may be replaced.

    Raises:
        ValueError: If `path` is a URL or has the wrong suffix.
        FileExistsError: If `path` exists and may not be replaced.
    """
    if "://" in os.fspath(path):
        raise ValueError(
            f"{kind.argument} must be on this machine: write to a local path, then copy. "
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
    """Returns why `path` may not be written, or `None` if it may.

    The reason is the rest of a sentence that begins with `kind.argument`.
    """
    if link.is_symlink() and not path.exists():
        return f"is a symbolic link to '{path}', which does not exist."
    if not path.exists():
        return None
    if path == Path.cwd() or path in Path.cwd().parents:
        return "is the current folder or one above it: choose a folder inside it."
    if os.path.ismount(path):
        return "is a mount point, which cannot be replaced: choose a folder inside it."
    if path.is_dir() and kind.suffix is not None:
        return "is a folder and this format writes a file: it will not be replaced."
    if not path.is_dir() and kind.suffix is None:
        return "is a file and this format writes a folder: it will not be replaced."
    if path.is_dir() and not any(path.iterdir()):
        return None
    if not overwrite:
        return f"exists; {kind.overwrite} replaces only {kind.name}."
    return _reason_not_to_replace(path, kind)


def _reason_not_to_replace(path: Path, kind: Kind) -> str | None:
    own_files = set(kind.own_files(path)) if path.is_dir() or path.is_file() else set()
    if not own_files:
        return f"exists and is not {kind.name}: it will not be replaced."
    others = sorted(_entries(path) - own_files) if path.is_dir() else []
    if others:
        named = ", ".join(f"'{name}'" for name in others[:3])
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        return (
            f"holds {kind.name} and other files, which would be lost: {named}{more}. "
            "Move them or choose another folder."
        )
    return None


def _entries(folder: Path) -> set[str]:
    """Returns the relative names of all files, links and empty folders below `folder`."""
    found = set()
    for parent, folders, files in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        here = [os.path.join(parent, name) for name in (*files, *links)]
        if not files and not folders:
            here = [parent]
        found.update(os.path.relpath(name, folder) for name in here)
    return found


@contextlib.contextmanager
def atomic(path: Path, check: Callable[[], object] = lambda: None) -> Iterator[Path]:
    """Yields a temporary path, which is renamed to `path` if the body succeeds.

    If the body fails or is interrupted, `path` is unchanged and nothing is left beside it.

    Args:
        path: The absolute path of the output.
        check: Called just before `path` is replaced, because `path` may have changed since the
            body began. Raises an error to keep `path` as it is.

    Raises:
        OSError: If `path` cannot be written, or the disk is full.
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
            code = _disk_full_code(error)
            if code is None:
                raise
            raise _unwritable(path, code) from error


def _scratch_folder(path: Path, cleanup: contextlib.ExitStack) -> Path:
    """Makes a folder beside `path`. `cleanup` removes it, and new parent folders if empty."""
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
    """Renames `written` to `path`. A non-empty folder at `path` moves to the scratch folder."""
    try:
        os.replace(written, path)
        return
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    if _exchange(written, path):
        return
    replaced = written.with_name(f"{path.name}.replaced")
    try:
        path.rename(replaced)
        written.rename(path)
    except BaseException:
        if replaced.exists() and not path.exists():
            replaced.rename(path)
        raise


def _exchange(a: Path, b: Path) -> bool:
    """Exchanges two paths atomically. Returns False if the system cannot."""
    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError):
        return False
    names = os.fsencode(a), os.fsencode(b)
    return renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0


def _flush_to_disk(path: Path) -> None:
    """Flushes all files: after a crash, the new name must not refer to missing content."""
    files = path.rglob("*") if path.is_dir() else [path]
    for file in files:
        if file.is_file():
            with open(file, "rb") as opened:
                os.fsync(opened.fileno())


def _disk_full_code(error: Exception) -> int | None:
    """Returns the error code if `error` reports a full disk, and otherwise None.

    C++ libraries report it in the text of the message only.
    """
    if isinstance(error, OSError):
        return error.errno if error.errno in _DISK_FULL else None
    message = f"{error} {error.__cause__}"
    return next((code for code in _DISK_FULL if os.strerror(code) in message), None)


def _unwritable(path: Path, code: int | None) -> OSError:
    reason = os.strerror(code) if code else "the folder cannot be made"
    # `OSError(code, "")` creates the subclass for the code, such as `PermissionError`. `errno` is
    # set afterwards, to keep it out of the message.
    error = type(OSError(code, ""))(f"'{path}' cannot be written: {reason}. Nothing was changed.")
    error.errno = code
    return error
