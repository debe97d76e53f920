"""Runs commands as their modules do, in this process."""

import contextlib
import io

from examples.pose.cli import command_line


def outcome(main, *arguments) -> tuple[int, str]:
    """The exit status of a command and what it wrote to standard error."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        try:
            status = command_line.run(lambda: main(list(map(str, arguments))))
        except SystemExit as stop:  # Of the parser of arguments.
            status = stop.code
    return status, errors.getvalue().strip()


def refused(main, *arguments) -> str:
    """The one line with which a command refuses."""
    status, message = outcome(main, *arguments)
    assert status in (1, 2) and message.startswith("error: ") and "\n" not in message, message
    return message
