"""Arguments that the commands that predict, measure or export share: model, flip test, decoding."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from examples.pose.cli import command_line
from examples.pose.inference import DECODING, FLIP_TEST
from examples.pose.models import DECODINGS

if TYPE_CHECKING:
    from examples.pose.inference.predictor import PosePredictor


def add_settings_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--flip_test`, `--no_flip_test` and `--decoding`.

    Options that the user does not give are None. `settings_of` replaces None by the default.
    `predict` needs the None, because an exported model has settings of its own.
    """
    parser.set_defaults(flip_test=None, decoding=None)
    parser.add_argument(
        "--flip_test",
        action="store_true",
        default=argparse.SUPPRESS,
        help="average over each picture and its mirror image: more accurate, at twice the cost"
        + (" (default)" if FLIP_TEST else ""),
    )
    parser.add_argument(
        *("--no_flip_test", "--no-flip_test"),
        dest="flip_test",
        action="store_false",
        default=argparse.SUPPRESS,
        help="use each picture only as it is" + ("" if FLIP_TEST else " (default)"),
    )
    parser.add_argument(
        "--decoding",
        choices=DECODINGS,
        default=argparse.SUPPRESS,
        help=f"how joints are read from the heatmaps (default: {DECODING})",
    )


def settings_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the settings as arguments of `PosePredictor`. Options not given have defaults."""
    return {
        "flip_test": FLIP_TEST if arguments.flip_test is None else arguments.flip_test,
        "decoding": arguments.decoding or DECODING,
    }


def add_predictor_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that `load_predictor` needs."""
    parser.add_argument(
        "--run",
        type=command_line.name,
        required=True,
        help="run folder that holds the trained model",
    )
    add_settings_arguments(parser)


def load_predictor(arguments: argparse.Namespace) -> PosePredictor:
    """Loads the predictor that the arguments of `add_predictor_arguments` describe."""
    from examples.pose.inference import predictor

    settings = settings_of(arguments)
    return predictor.load_run(arguments.run, **settings)
