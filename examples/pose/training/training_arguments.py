"""The arguments of `train`, and the checks that need no data and write nothing."""

import argparse
from collections.abc import Mapping
from typing import Any

import keras

from examples.pose import datasets, models
from examples.pose.cli import command_line
from examples.pose.cli.command_line import positive
from examples.pose.cli.errors import as_user_error
from examples.pose.training.distribution import STRATEGIES
from examples.pose.training.optimisation import PRECISIONS, Optimisation

MODEL_ARGUMENTS = (
    "context",
    "boxes",
    "kernel_size",
    "box_options",
    "image_size",
    "width",
    "depth",
    "levels",
    "stacks",
    "stages",
    "stride",
)
# These say where things are, who does them and what is shown, not what the run is: they may change
# between stop and resume.
FREE_ARGUMENTS = ("data_dir", "prepared_dir", "skip_broken", "strategy", "log_boxes")


def make_parser() -> argparse.ArgumentParser:
    """The command line of `examples.pose.train`."""
    parser = command_line.Parser(
        prog="python -m examples.pose.train",
        description="Trains a pose network. The same command again resumes a run that was stopped.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--run",
        type=command_line.new_folder,
        required=True,
        help="folder for everything the run writes",
    )
    add(
        "--dataset",
        default="stick_figures",
        help=f"one or several of {', '.join(datasets.NAMES)}, joined by '+'; the first one has "
        "the joints to find, and the split to test on",
    )
    command_line.add_data_arguments(parser)
    add_model_arguments(parser)
    add_optimisation_arguments(parser)
    add(
        "--seed",
        type=command_line.seed,
        default=0,
        help="determines weights, order and augmentation",
    )
    add("--limit_train", type=positive, help="use only so many training photographs, from all over")
    add(
        "--validation_size",
        type=positive,
        default=200,
        help="test photographs to measure on after each epoch; the end measures on all",
    )
    add("--strategy", default="none", choices=STRATEGIES, help="where to train")
    parser.add_argument(
        "--log_boxes",
        action="store_true",
        help="show the boxes in TensorBoard each epoch, and in boxes.gif when training ends, from "
        "where it began or was last resumed",
    )
    return parser


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what `models.build` takes; None is the network's own default."""
    add = parser.add_argument
    add("--model", default=models.DEFAULT, choices=tuple(models.MODELS), help="the kind of network")
    add("--context", choices=models.CONTEXTS, help="what gathers context in each block")
    add("--boxes", type=positive, help="boxes a channel, where the context is boxes")
    add("--kernel_size", type=positive, help="of wide filters other than boxes")
    add(
        "--box_options",
        type=command_line.json_object,
        help='arguments of DepthwiseBoxConv2D, as in \'{"normalization": "valid"}\'',
    )
    add("--image_size", type=positive, default=96, help="pixels")
    add("--width", type=positive, help="channels, where they are fewest")
    add("--depth", type=positive, help="blocks in a row; for hourglass: halvings")
    add("--levels", type=positive, help="halvings of u_net")
    add("--stacks", type=positive, help="hourglasses")
    add("--stages", type=positive, help="guesses of light, each of which sees the one before")
    add("--stride", type=positive, help="image pixels a pixel of full_resolution, 2 or 4")


def add_optimisation_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what `Optimisation` takes, and the length of the training."""
    add = parser.add_argument
    add("--batch_size", type=positive, default=16, help="images a step, in all replicas together")
    add("--steps_per_epoch", type=positive, default=250, help="steps between two saves")
    add("--epochs", type=positive, default=24, help="times steps_per_epoch is the training")
    add("--learning_rate", type=float, default=2e-3, help="highest learning rate")
    add("--weight_decay", type=float, default=0.0, help="of kernels; boxes never decay")
    add("--clip_norm", type=float, default=0.0, help="largest norm of the gradient; 0: any")
    add("--ema", type=float, default=0.0, help="momentum of averaged weights; 0: not averaged")
    add("--precision", default="float32", choices=PRECISIONS, help="Keras dtype policy")


def dataset_names(text: str) -> list[str]:
    """The data sets of a `--dataset` argument.

    Raises:
        UserError: One is unknown, or given twice, or the first has no split to measure on.
    """
    with as_user_error(ValueError):
        return datasets.parse_names(text)


def optimisation(config: Mapping[str, Any]) -> Optimisation:
    """How a run's arguments say to train.

    Raises:
        UserError: One of them is out of its range.
    """
    with as_user_error(ValueError):
        return Optimisation(
            steps=config["epochs"] * config["steps_per_epoch"],
            learning_rate=config["learning_rate"],
            weight_decay=config["weight_decay"],
            clip_norm=config["clip_norm"],
            ema=config["ema"],
            precision=config["precision"],
        )


def build_model(config: Mapping[str, Any], num_joints: int = 14) -> keras.Model:
    """The network that a run's arguments describe.

    Raises:
        UserError: One of them is out of its range, or not one of this network's.
    """
    arguments = {key: config[key] for key in MODEL_ARGUMENTS}
    with as_user_error(ValueError):
        return models.build(config["model"], num_joints=num_joints, **arguments)


def check(config: Mapping[str, Any]) -> None:
    """Checks what can be checked without TensorFlow's devices, which workers must set up first.

    Raises:
        UserError: The arguments make no training.
    """
    dataset_names(config["dataset"])
    optimisation(config)


def check_all(arguments: list[str]) -> dict[str, Any]:
    """Parses and checks a command line of `train`, for commands that start it.

    Returns:
        A value for each argument.

    Raises:
        UserError: The arguments make no training.
    """
    config = vars(make_parser().parse_args(arguments))
    check(config)
    build_model(config)
    return config
