"""File locks between processes. A lock ends with its process, even if it is killed."""

import errno
import fcntl
import sys
from typing import IO

# Errors of file systems without locks: NFS without its lock daemon, some FUSE and cluster systems.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


def lock(file: IO, wait: bool) -> bool:
    """Locks an open file until it is closed.

    If the file system has no locks, a note is printed to standard error.

    Args:
        file: The file.
        wait: Whether to wait until another process releases the lock.

    Returns:
        Whether the file is locked.

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
            f"note: {file.name} cannot be locked ({error.strerror}): see to it that no other "
            "process writes there at the same time.",
            file=sys.stderr,
        )
        return False
