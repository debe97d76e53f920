"""The arguments of `train`. They determine the run and are written to its config.json."""

import argparse
from collections.abc import Sequence
from typing import Any

from examples.pose import datasets, models
from examples.pose.cli import command_line
from examples.pose.cli.command_line import positive
from examples.pose.cli.errors import as_user_error
from examples.pose.training import PRECISIONS, STRATEGIES

# Options that do not change the result. They may differ when a run is resumed.
FREE_ARGUMENTS = (*command_line.DATA_ARGUMENTS, "strategy", "log_boxes")
# Options of the network. With --init, those that are not given are taken from the earlier run.
NETWORK_ARGUMENTS = (
    *("model", "context", "boxes", "kernel_size", "box_options", "image_size"),
    *("width", "depth", "levels", "stacks", "stages", "stride"),
)


def parse(argv: Sequence[str] | None = None) -> tuple[dict[str, Any], set[str]]:
    """Parses a command line of `train`.

    Returns:
        A value for each argument; and the names of those that were given, among the
        `NETWORK_ARGUMENTS` and `epochs`.
    """
    parser = make_parser()
    names, unset = {*NETWORK_ARGUMENTS, "epochs"}, object()
    config = vars(parser.parse_args(argv, argparse.Namespace(**dict.fromkeys(names, unset))))
    missing = {name for name in names if config[name] is unset}
    config.update({name: parser.get_default(name) for name in missing})
    return config, names - missing


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser of `examples.pose.train`."""
    parser = command_line.Parser(
        prog="python -m examples.pose.train",
        description="Trains a pose network. The same command again resumes a run that was stopped.",
    )
    add = parser.add_argument
    add(
        "--run",
        type=command_line.new_folder,
        required=True,
        help="folder for everything that the run writes",
    )
    add(
        "--dataset",
        default="stick_figures",
        help=f"one or several of {', '.join(datasets.NAMES)}, joined by '+'; the first one "
        "decides on the joints and on the split to measure on",
    )
    command_line.add_data_arguments(parser)
    command_line.add_flip_pairs(parser)
    add(
        "--init",
        type=command_line.name,
        metavar="RUN_OR_MODEL",
        help="start from the weights of this run folder or Keras model file. Options of the "
        "network that are not given are those of the run; for other joints, the heads start anew",
    )
    add_model_arguments(parser)
    add_optimisation_arguments(parser)
    add(
        "--seed",
        type=command_line.seed,
        default=0,
        help="seed of the first weights, the order of the photographs and the augmentation",
    )
    add(
        "--limit_train",
        type=positive,
        help="use only this many training photographs, spread over all",
    )
    add(
        "--validation_size",
        type=positive,
        default=200,
        help="photographs to measure on after each epoch; the final measurement takes all",
    )
    add(
        "--strategy",
        default="none",
        choices=STRATEGIES,
        help="train on one device (none), on all devices of this process (mirrored), or in several "
        "processes that TF_CONFIG describes (multiworker)",
    )
    parser.add_argument(
        "--log_boxes",
        action="store_true",
        help="show the boxes in TensorBoard after each epoch, and write boxes.gif at the end; it "
        "starts where the training was last resumed",
    )
    return parser


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `models.build`; None stands for the network's own default."""
    add = parser.add_argument_group(
        "network", "Each network has its own defaults for the options that show none."
    ).add_argument
    add("--model", default=models.DEFAULT, choices=models.NAMES, help="which network")
    add(
        "--context",
        choices=models.CONTEXTS,
        help="kind of filter that gathers context in each block",
    )
    add("--boxes", type=positive, help="boxes per channel, for box networks")
    add(
        "--kernel_size",
        type=positive,
        help="side of the wide filters of the other networks",
    )
    add(
        "--box_options",
        type=command_line.json_object,
        help='arguments of DepthwiseBoxConv2D, as in \'{"normalization": "valid"}\'',
    )
    add(
        "--image_size",
        type=positive,
        default=96,
        help="side of the square images that the network sees, in pixels",
    )
    add(
        "--width",
        type=positive,
        help="channels at the highest resolution",
    )
    add(
        "--depth",
        type=positive,
        help="blocks in a row; of hourglass, halvings",
    )
    add("--levels", type=positive, help="halvings of u_net")
    add("--stacks", type=positive, help="number of hourglasses")
    add(
        "--stages",
        type=positive,
        help="predictions of light, each of which sees the one before",
    )
    add(
        "--stride",
        type=positive,
        help="image pixels per cell of full_resolution, 2 or 4",
    )


def add_optimisation_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `Optimisation` and the length of the training."""
    group = parser.add_argument_group("optimization")
    add, add_length = group.add_argument, group.add_mutually_exclusive_group().add_argument
    add(
        "--batch_size",
        type=positive,
        default=16,
        help="images in a step, over all devices together",
    )
    add(
        "--steps_per_epoch",
        type=positive,
        default=250,
        help="steps in an epoch; the run is saved after each epoch",
    )
    add_length(
        "--epochs",
        type=positive,
        default=24,
        help="length of the training; a finished run goes on if this is more than before. A run "
        "that is resumed without it keeps its length",
    )
    add_length(
        "--minutes",
        type=positive,
        help="as many epochs as take about this long on this machine, at least one; some steps are "
        "timed first. Not with --strategy multiworker",
    )
    add(
        "--augmentation",
        type=command_line.number(0, 5),
        default=1.0,
        help="factor for the limits of random rotation, scale, shift and colours of the images; "
        "with 0 they are only mirrored",
    )
    add("--learning_rate", type=float, default=2e-3, help="highest learning rate")
    add(
        "--weight_decay", type=float, default=0.0, help="weight decay of kernels; boxes never decay"
    )
    add(
        "--clip_norm",
        type=float,
        default=0.0,
        help="limit for the norm of the gradient; 0 means none",
    )
    add(
        "--ema",
        type=float,
        default=0.0,
        help="momentum of the running average of the weights; 0 means no average",
    )
    add(
        "--precision",
        default="float32",
        choices=PRECISIONS,
        help="Keras dtype policy of the training",
    )


def dataset_names(text: str) -> list[str]:
    """The data sets of a `--dataset` argument.

    Raises:
        UserError: One is unknown, or given twice, or the first has no split to measure on.
    """
    with as_user_error(ValueError):
        return datasets.parse_names(text)
