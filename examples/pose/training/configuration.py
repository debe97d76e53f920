"""Checks the arguments of `train`, and makes the network and the optimizer settings from them.

A configuration is a dict with a value for each argument. No function here reads or writes files.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras

from examples.pose import datasets, models
from examples.pose.cli.errors import as_user_error
from examples.pose.training import training_arguments
from examples.pose.training.optimisation import Optimisation

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


def optimisation(config: Mapping[str, Any]) -> Optimisation:
    """Returns the optimizer settings of a configuration.

    Raises:
        UserError: An argument is out of its range.
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
    """Builds the network of a configuration.

    Raises:
        UserError: An argument is out of its range, or this network does not have it.
    """
    arguments = {key: config[key] for key in MODEL_ARGUMENTS}
    with as_user_error(ValueError):
        return models.build(config["model"], num_joints=num_joints, **arguments)


def check(config: Mapping[str, Any]) -> None:
    """Checks the arguments that do not need a network.

    Building one would use the devices, and workers must set those up before their first use.

    Raises:
        UserError: An argument is out of its range, or two arguments contradict each other.
    """
    names = training_arguments.dataset_names(config["dataset"])
    with as_user_error(ValueError):
        if datasets.KEYPOINTS in names:
            keypoint_files(config).check()
        elif keypoint_files(config) != datasets.KeypointFiles():
            raise ValueError(
                "--annotations, --validation, --images and --flip_pairs are for "
                "--dataset keypoints."
            )
    optimisation(config)


def keypoint_files(config: Mapping[str, Any]) -> datasets.KeypointFiles:
    """Returns the files of the data set `keypoints` in a configuration."""
    names = (field.name for field in dataclasses.fields(datasets.KeypointFiles))
    return datasets.KeypointFiles(**{name: config.get(name) for name in names})


def check_all(arguments: list[str]) -> dict[str, Any]:
    """Parses and checks a command line of `train`, for commands that start it.

    Returns:
        A value for each argument.

    Raises:
        UserError: An argument is out of its range, or two arguments contradict each other.
    """
    config = vars(training_arguments.make_parser().parse_args(arguments))
    check(config)
    build_model(config)
    return config
