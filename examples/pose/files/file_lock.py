"""File locks between processes. A lock also ends when its process is killed."""

import errno
import fcntl
import sys
from typing import IO

# Errors of file systems without locks: NFS without its lock daemon, some FUSE and cluster ones.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


def lock(file: IO, wait: bool) -> bool:
    """Locks an open file until it is closed.

    If the file system has no locks, prints a note on standard error and returns False.

    Args:
        file: The file.
        wait: Whether to wait if another process holds the lock.

    Returns:
        Whether the file is locked now.

    Raises:
        BlockingIOError: Another process holds the lock, and `wait` is false.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        return True
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        print(
            f"note: {file.name} cannot be locked ({error.strerror}). Make sure that no other "
            "process writes there at the same time.",
            file=sys.stderr,
        )
        return False
