"""The argument parser of all commands, argument types, and `run`, which reports errors."""

import argparse
import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from examples.pose.cli import interruption
from examples.pose.cli.errors import UserError, describe
from examples.pose.datasets import KEYPOINTS, KeypointFiles

INT32_MAX = 2**31 - 1
# The arguments that `add_data_arguments` adds.
DATA_ARGUMENTS = (
    *("data_dir", "prepared_dir", "skip_broken", "annotations", "validation", "images"),
)


class HelpFormatter(argparse.HelpFormatter):
    """Appends defaults to the help of options, and keeps the line breaks of descriptions.

    Defaults that are None, an empty list or a boolean are not appended. Where such a default needs
    an explanation, the help text of the option gives it.
    """

    def _get_help_string(self, action: argparse.Action) -> str | None:
        default = action.default
        if not action.option_strings or default in (None, [], argparse.SUPPRESS):
            return action.help
        if isinstance(default, bool) or "(default: " in action.help:
            return action.help
        if isinstance(default, (list, tuple)):
            default = " ".join(map(str, default))
        return f"{action.help} (default: {str(default).replace('%', '%%')})"

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" not in text:
            return super()._fill_text(text, width, indent)
        return "".join(indent + line for line in text.splitlines(keepends=True))


class Parser(argparse.ArgumentParser):
    """An argument parser that shows defaults and reports a wrong command line in one line."""

    def __init__(self, *args, **keywords):
        super().__init__(*args, **{"formatter_class": HelpFormatter, **keywords})

    def error(self, message: str):
        """Prints the message and exits with status 2."""
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


def integer(low: int, high: int = INT32_MAX) -> Callable[[str], int]:
    """Returns an argument type that accepts integers from `low` to `high`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be an integer, got {text!r}") from None
        if value < low:
            raise argparse.ArgumentTypeError(f"must be at least {low}, got {value}")
        if value > high:
            raise argparse.ArgumentTypeError(f"must be at most {high}, got {value}")
        return value

    return parse


positive = integer(1)
not_negative = integer(0)
seed = integer(0, 2**32 - 1)  # The range of NumPy and Keras.


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, got {text!r}") from None


def positive_number(text: str) -> float:
    """Argument type: a positive number of at most a million, for instance of seconds."""
    value = _float(text)
    if not 0 < value <= 1e6:
        raise argparse.ArgumentTypeError(f"must be more than 0 and at most 1000000, got {text}")
    return value


def number(low: float, high: float) -> Callable[[str], float]:
    """Returns an argument type that accepts numbers from `low` to `high`."""

    def parse(text: str) -> float:
        value = _float(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must be from {low} to {high}, got {text}")
        return value

    return parse


score = number(0, 1)


def box(text: str) -> tuple[float, float, float, float]:
    """Argument type: a box `x,y,width,height` in pixels, with sides of at least one pixel."""
    values = [_float(part) for part in text.split(",")]
    if len(values) != 4 or not all(abs(v) < 1e6 for v in values) or min(values[2:]) < 1:
        raise argparse.ArgumentTypeError(f"must be x,y,width,height in pixels, got {text!r}")
    return tuple(values)


def json_object(text: str) -> dict[str, Any]:
    """Argument type: a JSON object."""
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"must be a JSON object such as '{{}}', got {text!r}")
    return value


def name(text: str) -> str:
    """Argument type: the name of a file or folder, with `~` expanded. It need not exist."""
    if not text.strip():
        raise argparse.ArgumentTypeError("must name a file or folder, got an empty name")
    # Shells do not expand the ~ in `--run=~/x`.
    return os.path.expanduser(text)


def folder(text: str) -> str:
    """Argument type: the name of a folder. The folder need not exist."""
    path = name(text)
    _check_folder(Path(path), text)
    return path


def new_folder(text: str) -> str:
    """Argument type: a folder that can be written to, or created if it does not exist."""
    path = folder(text)
    _check_writable(Path(path), text)
    return path


def new_file(text: str) -> Path:
    """Argument type: a file that can be created or replaced."""
    path = Path(name(text))
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"must be a file, and {text} is a folder")
    if path.exists() and not path.is_file():
        raise argparse.ArgumentTypeError(f"must be a regular file, and {text} is not one")
    _check_folder(path.parent, text)
    _check_writable(path.parent, text)
    return path


def _check_folder(path: Path, text: str) -> None:
    """Raises an `ArgumentTypeError` if the path or one of its parents exists and is no folder.

    Args:
        path: The path.
        text: The argument as the user wrote it, for the message.
    """
    for part in (path, *path.parents):
        if os.path.lexists(part) and not part.is_dir():
            raise argparse.ArgumentTypeError(f"must be a folder, got {text}: {part} is not one")


def _check_writable(path: Path, text: str) -> None:
    """Raises an `ArgumentTypeError` if the folder, or its nearest existing parent, is read-only."""
    existing = next(part for part in (path, *path.absolute().parents) if part.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise argparse.ArgumentTypeError(
            f"cannot write to {text}: {existing}: {error.strerror}"
        ) from None


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that say where data sets are, and `--skip_broken`."""
    parser.add_argument(
        "--data_dir",
        type=folder,
        default=None,
        help="folder that holds the data sets' official folders or archives",
    )
    parser.add_argument(
        "--prepared_dir",
        type=folder,
        default=None,
        help="folder of the prepared records (default: TFDS_DATA_DIR or ~/tensorflow_datasets)",
    )
    parser.add_argument(
        "--skip_broken",
        action="store_true",
        help="leave out pictures and labels that cannot be used when a data set is prepared",
    )
    parser.add_argument(
        "--annotations",
        type=name,
        metavar="FILE",
        help="of keypoints: labels to train on, in the format of COCO",
    )
    parser.add_argument(
        "--validation",
        type=name,
        metavar="FILE",
        help="of keypoints: labels to measure on (if there are none, a fifth of the pictures in "
        "--annotations)",
    )
    parser.add_argument(
        "--images", type=name, metavar="DIR", help="of keypoints: folder of the pictures"
    )


def given_data_arguments(arguments: argparse.Namespace) -> list[str]:
    """The options of `add_data_arguments` on a command line, as in `["--data_dir"]`."""
    return [f"--{name}" for name in DATA_ARGUMENTS if getattr(arguments, name)]


def add_flip_pairs(parser: argparse.ArgumentParser) -> None:
    """Adds `--flip_pairs`, for commands that do not take the joints from a trained network."""
    parser.add_argument(
        "--flip_pairs",
        metavar="A:B,C:D",
        help="of keypoints: joints that a mirrored picture swaps (by left and right in the names "
        "if there are none given)",
    )


def keypoint_files(values: Mapping[str, Any]) -> KeypointFiles:
    """Returns the files of the data set `keypoints` from arguments by name, which may lack some."""
    return KeypointFiles(**{f.name: values.get(f.name) for f in dataclasses.fields(KeypointFiles)})


def refuse_keypoint_files(files: KeypointFiles) -> None:
    """Raises a `UserError` if files of `keypoints` are given, for use with other data sets."""
    if files != KeypointFiles():
        names = ", ".join(f"--{field.name}" for field in dataclasses.fields(KeypointFiles))
        raise UserError(f"{names} are for --dataset {KEYPOINTS}.")


def data_places(
    arguments: argparse.Namespace, dataset: str, config: Mapping[str, Any]
) -> tuple[str | None, str | None, KeypointFiles]:
    """Returns `data_dir`, `prepared_dir` and the files of `keypoints`.

    Each is taken from the command line, else from a run's config. With `--annotations`, the run's
    `--validation` is not taken: it would be measured on in place of the new labels.

    Args:
        arguments: The arguments of `add_data_arguments`.
        dataset: Name of the data set to read.
        config: The arguments of a run, or an empty dict.

    Raises:
        UserError: There are files of `keypoints` on the command line, but it is not read.
    """
    given = {key: value for key, value in vars(arguments).items() if value is not None}
    if dataset != KEYPOINTS:
        refuse_keypoint_files(keypoint_files(given))
    if "annotations" in given:
        config = {**config, "validation": None}
    values = {**config, **given}
    return values.get("data_dir"), values.get("prepared_dir"), keypoint_files(values)


def run(main: Callable[[], int | None]) -> int:
    """Runs a command and returns its exit status.

    * Errors that the user can fix become one message and status 1: `UserError`, `OSError` (no
      permission, disk full) and `MemoryError`.
    * Ctrl-C and SIGTERM become one message and status 130 or 143, see `interruption`.
    * Any other exception is a bug in the command and keeps its traceback.
    """
    try:
        with interruption.stoppable():
            return main() or 0
    except (UserError, OSError) as error:
        print(f"error: {describe(error)}", file=sys.stderr)
    except MemoryError as error:
        print(f"error: out of memory: {describe(error)}", file=sys.stderr)
    except interruption.Stopped as stop:
        print(f"\nstopped. {stop}".rstrip(), file=sys.stderr)
        return stop.exit_status
    return 1
