"""Runs commands in this process as their modules do."""

import contextlib
import io

from examples.pose.cli import command_line


def outcome(main, *arguments) -> tuple[int, str]:
    """The exit status of a command and what it wrote to standard error."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        try:
            status = command_line.run(lambda: main(list(map(str, arguments))))
        except SystemExit as stop:  # from the argument parser
            status = stop.code
    return status, errors.getvalue().strip()


def refused(main, *arguments) -> str:
    """Runs a command that must fail; returns its error, which must be one line."""
    status, message = outcome(main, *arguments)
    assert status in (1, 2) and message.startswith("error: ") and "\n" not in message, message
    return message
