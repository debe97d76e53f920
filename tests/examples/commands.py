"""Runs commands in the process of the test, with the error handling of `command_line.run`."""

import contextlib
import io

from examples.pose.cli import command_line


def outcome(main, *arguments) -> tuple[int, str]:
    """Runs a command. Returns its exit status and the text that it wrote to standard error."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        try:
            status = command_line.run(lambda: main(list(map(str, arguments))))
        except SystemExit as stop:  # from the argument parser
            status = stop.code
    return status, errors.getvalue().strip()


def refused(main, *arguments) -> str:
    """Runs a command that must fail with a one-line error. Returns the error."""
    status, message = outcome(main, *arguments)
    assert status in (1, 2) and message.startswith("error: ") and "\n" not in message, message
    return message
