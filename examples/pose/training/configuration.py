"""Checks the arguments of `train`, and makes the network and the optimizer settings from them.

A configuration is a dict with a value for each argument. No function here reads or writes files.
"""

from collections.abc import Collection, Mapping
from typing import Any

import keras

from examples.pose import datasets, models
from examples.pose.cli import command_line
from examples.pose.cli.errors import UserError, as_user_error
from examples.pose.training import initial_weights, training_arguments
from examples.pose.training.optimisation import Optimisation
from examples.pose.training.run_folder import RunFolder


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
    arguments = {key: config[key] for key in training_arguments.NETWORK_ARGUMENTS}
    with as_user_error(ValueError):
        return models.build(arguments.pop("model"), num_joints=num_joints, **arguments)


def check(config: Mapping[str, Any]) -> None:
    """Checks the arguments that do not need a network.

    Building one would use the devices, and workers must set those up before their first use.

    Raises:
        UserError: An argument is out of its range, or two arguments contradict each other.
    """
    names = training_arguments.dataset_names(config["dataset"])
    files = command_line.keypoint_files(config)
    if datasets.KEYPOINTS not in names:
        command_line.refuse_keypoint_files(files)
    else:
        with as_user_error(ValueError):
            files.check(("train", "validation"))
    optimisation(config)


def check_minutes(config: Mapping[str, Any], run: RunFolder) -> None:
    """Raises a `UserError` if a training in several processes would have to be timed."""
    if config["minutes"] and not run.has_finished_epoch:
        raise UserError("--minutes is for trainings in one process. Give --epochs instead.")


def with_initial_network(config: dict[str, Any], given: Collection[str]) -> dict[str, Any]:
    """Takes the options of the network that are not given from the run of `--init`.

    A run that is resumed has them in its own config.json, so that the run of `--init` need not
    exist any more.

    Args:
        config: A value for each argument.
        given: Names of the `NETWORK_ARGUMENTS` on the command line.

    Raises:
        UserError: `--init` is no run folder and no Keras model file.
    """
    if not config["init"]:
        return config
    run = RunFolder(config["run"])
    earlier = run.config if run.has_finished_epoch and run.config_path.exists() else {}
    if earlier.get("init") != config["init"]:
        _, initial_run = initial_weights.find(config["init"])
        earlier = initial_run.config if initial_run else {}
    if "model" in given and config["model"] != earlier.get("model"):
        return config
    taken = [n for n in training_arguments.NETWORK_ARGUMENTS if n in earlier and n not in given]
    return {**config, **{name: earlier[name] for name in taken}}


def check_all(arguments: list[str]) -> dict[str, Any]:
    """Parses and checks a command line of `train`, for commands that start it.

    Returns:
        A value for each argument.

    Raises:
        UserError: An argument is out of its range, or two arguments contradict each other.
    """
    config = with_initial_network(*training_arguments.parse(arguments))
    check(config)
    build_model(config)
    return config
