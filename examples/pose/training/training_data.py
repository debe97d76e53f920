"""The photographs of a training, in memory."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from examples.pose import datasets
from examples.pose.cli import command_line
from examples.pose.cli.errors import UserError, as_user_error
from examples.pose.datasets import in_memory, joint_mapping
from examples.pose.datasets.in_memory import Photographs
from examples.pose.datasets.skeletons import Skeleton
from examples.pose.evaluation import accuracy
from examples.pose.training import input_pipeline, training_arguments
from examples.pose.training.run_folder import RunFolder


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """The photographs that a run trains and is measured on.

    Attributes:
        train: Photographs to train on, letterboxed to `CANVAS_SCALE` times the image size.
        validation: The first photographs of `test`, to measure on after each epoch.
        test: Photographs to measure the trained network on, letterboxed to the image size.
        skeleton: The joints.
        digests: Digests of the data sets' splits "train" and "test". They include photographs that
            `limit_train` leaves out.
    """

    train: Photographs
    validation: Photographs
    test: Photographs
    skeleton: Skeleton
    digests: dict[str, str]


def read(config: Mapping[str, Any]) -> TrainingData:
    """Reads the photographs of a run.

    Args:
        config: The arguments of the run.

    Raises:
        UserError: A data set is missing or broken, or has none of the joints of the first.
    """
    names = training_arguments.dataset_names(config["dataset"])
    folders = config["data_dir"], config["prepared_dir"], command_line.keypoint_files(config)
    skip = {"skip_broken": config.get("skip_broken", False)}
    size = config["image_size"]
    # Test photographs first: if they are missing, fail before the training, not after it.
    test, skeleton = accuracy.read_test_photographs(names[0], size, *folders, **skip)
    canvas = round(size * input_pipeline.CANVAS_SCALE)
    train, _ = read_training_photographs(names, canvas, *folders, **skip)
    return TrainingData(
        train=evenly_spaced(train, config["limit_train"]),
        validation=test[: config["validation_size"]],
        test=test,
        skeleton=skeleton,
        digests={"train": train.digest, "test": test.digest},
    )


def read_training_photographs(
    names: list[str],
    size: int,
    data_dir: str | None,
    prepared_dir: str | None,
    keypoint_files: datasets.KeypointFiles | None = None,
    skip_broken: bool = False,
) -> tuple[Photographs, Skeleton]:
    """Reads the training splits of several data sets into memory, with the joints of the first one.

    Args:
        names: Names of data sets.
        size: Side to which the photographs are letterboxed, in pixels.
        data_dir: Folder of official data sets, or None for the default.
        prepared_dir: Folder of prepared data sets, or None for the default.
        keypoint_files: The files of the data set `keypoints`.
        skip_broken: Whether to leave out pictures that cannot be read.

    Returns:
        The photographs of all data sets, in order, and the skeleton of the first one.

    Raises:
        UserError: A data set is missing or broken, or has none of the joints of the first.
    """
    joined, target = None, None
    for name in names:
        with as_user_error(ValueError):
            dataset, skeleton = datasets.load(
                name, "train", data_dir, prepared_dir, skip_broken, keypoint_files
            )
        target = target or skeleton
        with as_user_error(ValueError, prefix=f"--dataset joins {names[0]} and {name}. "):
            dataset = joint_mapping.with_joints(dataset, skeleton, target)
        # Other features of a person differ between data sets.
        dataset = dataset.map(lambda e: {key: e[key] for key in ("image", "joints", "visibility")})
        joined = dataset if joined is None else joined.concatenate(dataset)
    title = f"reading {'+'.join(names)} train"
    return in_memory.read_photographs(joined, size, title), target


def evenly_spaced(photographs: Photographs, limit: int | None) -> Photographs:
    """Returns at most `limit` photographs, evenly spaced; all of them if `limit` is None.

    Joined data sets follow one another, so the first `limit` photographs could all be from one.
    """
    count = len(photographs)
    if limit is None or limit >= count:
        return photographs
    return photographs[np.arange(limit) * count // limit]


def check_unchanged(run: RunFolder, dataset: str, digests: Mapping[str, str]) -> None:
    """Raises a `UserError` if the photographs or labels changed since the run began."""
    # Older versions did not write the digests.
    old = run.config.get("digests", digests) if run.has_finished_epoch else digests
    changed = [split for split, digest in digests.items() if old[split] != digest]
    if changed:
        raise UserError(
            f"The pictures or labels of {dataset} ({' and '.join(changed)}) are not those that "
            f"{run.path} was trained with. They have changed, or different pictures are skipped "
            "as broken. Restore them to resume the run, or give another --run."
        )
