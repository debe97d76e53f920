"""What the commands that read data sets share: arguments, and errors without tracebacks."""

import argparse
import sys
from collections.abc import Callable, Mapping
from typing import Any

from examples.pose.run_folder import RunFolderError


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--data_dir`, `--prepared_dir` and `--skip_broken`."""
    parser.add_argument(
        "--data_dir",
        default=None,
        help="folder that holds the data sets' official folders or archives",
    )
    parser.add_argument(
        "--prepared_dir",
        default=None,
        help="where prepared records are kept; None means ~/tensorflow_datasets",
    )
    parser.add_argument(
        "--skip_broken",
        action="store_true",
        help="leave out pictures and labels that cannot be used, where a data set is prepared",
    )


def data_places(
    arguments: argparse.Namespace, config: Mapping[str, Any]
) -> tuple[str | None, str | None]:
    """`data_dir` and `prepared_dir` for a trained run: as asked for now, else as in training."""
    return (
        arguments.data_dir or config.get("data_dir"),
        arguments.prepared_dir or config.get("prepared_dir"),
    )


def run(main: Callable[[], None]) -> int:
    """Runs a command; an error that the user can mend becomes one message and exit status 1."""
    try:
        main()
    except (RunFolderError, FileNotFoundError, ValueError) as error:
        # Programming errors are ValueErrors as well, and want their traceback.
        if isinstance(error, ValueError) and type(error) is not ValueError:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
