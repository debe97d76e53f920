"""Errors that a command reports in one line. All other exceptions keep their traceback.

A library function that is given a wrong argument raises `ValueError`, as everywhere in Python. The
command knows which option the argument came from, and turns the error into a `UserError` with
`as_user_error`. Any other `ValueError` is a bug in the command.
"""

import contextlib
from collections.abc import Iterator


class UserError(Exception):
    """An error that the user can fix; the message names the cause and the remedy."""


@contextlib.contextmanager
def as_user_error(*kinds: type[Exception], prefix: str = "") -> Iterator[None]:
    """Turns exceptions of the given classes into `UserError`. For calls that check user input.

    Args:
        *kinds: The exception classes. Wrap only calls that document them for wrong input.
        prefix: Put before the message, for example the name of the argument.
    """
    try:
        yield
    except kinds as error:
        raise UserError(f"{prefix}{describe(error)}") from error


def describe(error: BaseException) -> str:
    """Returns the message of an exception; for failed file operations, `file: reason`."""
    if isinstance(error, OSError) and error.strerror:
        places = [str(name) for name in (error.filename, error.filename2) if name is not None]
        return ": ".join([*places, error.strerror])
    return str(error) or type(error).__name__
