"""Locks that keep processes apart. A lock ends with its process, however that ends."""

import errno
import fcntl
import sys
from typing import IO

# What file systems without locks answer: NFS without its lock daemon, some of FUSE and of clusters.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


def lock(file: IO, wait: bool) -> bool:
    """Locks an open file until it is closed.

    Where the file system has no locks, this says so on standard error, and goes on without.

    Args:
        file: The file.
        wait: Whether to wait for a process that holds it.

    Returns:
        Whether it is locked.

    Raises:
        BlockingIOError: Another process holds it, and `wait` is false.
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
