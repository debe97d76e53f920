"""Trains a run from its last finished epoch, or from the start, and evaluates it at the end."""

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from examples.pose import datasets
from examples.pose.cli import interruption
from examples.pose.cli.errors import UserError, as_user_error, describe
from examples.pose.datasets import example_page
from examples.pose.evaluation import accuracy
from examples.pose.files.atomic_write import write_json
from examples.pose.training import (
    configuration,
    input_pipeline,
    run_length,
    training_arguments,
    training_data,
)
from examples.pose.training.distribution import make_workers
from examples.pose.training.run_folder import RunFolder
from examples.pose.training.session import Session
from examples.pose.training.training_arguments import FREE_ARGUMENTS
from examples.pose.training.training_data import TrainingData


def train(config: dict[str, Any], given: Collection[str] = ("epochs",)) -> None:
    """Trains a run from its last finished epoch, or from the start, to its end and evaluates it.

    Args:
        config: A value for each argument of the command line.
        given: Names of arguments that the user gave. Without "epochs", a run that is resumed keeps
            its length.

    Raises:
        UserError: The arguments are invalid, a data set cannot be read, the run folder holds a run
            with other arguments or is in use, the training diverges, or memory or disk are full.
            If no epoch was finished, the run folder is as it was before.
    """
    run = RunFolder(config["run"])
    config = run_length.keep(run, config, given)
    # Before waiting for workers, and before reading or writing anything.
    configuration.check(config)
    if config["strategy"] == "multiworker":
        configuration.check_minutes(config, run)
    extended_from = run_length.extended_from(run, config)
    is_extension = run_length.is_extension(run, config)
    free = (*FREE_ARGUMENTS, "digests", "extended_from")
    if is_extension:
        free += ("epochs", "minutes")
    _check_folder(run, _arguments(config), (*free, "skeleton"))
    with as_user_error(ValueError):
        workers = make_workers(config["strategy"])
    if run.metrics is not None and run.metrics.get("epochs") == config["epochs"]:
        if workers.is_chief:
            print(f"{run.path} is finished: {config['epochs']} epochs done. Nothing to do.")
            accuracy.print_results(run.metrics, _title(config))
        return
    run.require_state()
    with as_user_error(ValueError):
        input_pipeline.part_size(config["batch_size"], workers.replicas)
    configuration.build_model(config)
    with (
        interruption.explain_stop(lambda: _kept_message(run, config) if workers.is_chief else ""),
        run.lock() if workers.is_chief else contextlib.nullcontext(),
    ):
        data = training_data.read(config)
        if config["minutes"] and not run.has_finished_epoch:
            with _full_memory_or_disk_explained(run, config):
                config["epochs"] = Session(run, config, data, workers).epochs_in(config["minutes"])
        description = _describe(config, data, extended_from)
        _check_folder(run, description, free)
        training_data.check_unchanged(run, config["dataset"], data.digests)
        if workers.is_chief:
            if is_extension:
                print(run_length.describe_extension(config, extended_from[-1]))
            _print_data(data, config)
        with _full_memory_or_disk_explained(run, config):
            model = Session(run, config, data, workers).fit(description)
            if workers.is_chief:
                _evaluate(run, config, model, data)
        workers.wait()


def _arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that config.json holds."""
    return {key: value for key, value in config.items() if key != "run"}


def _describe(
    config: Mapping[str, Any], data: TrainingData, extended_from: list[int]
) -> dict[str, Any]:
    """Returns the content of config.json."""
    description = {
        **_arguments(config),
        "skeleton": data.skeleton.to_metadata(),
        "digests": data.digests,
    }
    if extended_from:
        description["extended_from"] = extended_from
    return description


def _title(config: Mapping[str, Any]) -> str:
    name = training_arguments.dataset_names(config["dataset"])[0]
    return f"{config['run']} on {name} {datasets.evaluation_split(name)}, with flip test"


def _print_data(data: TrainingData, config: Mapping[str, Any]) -> None:
    if training_arguments.dataset_names(config["dataset"])[0] == datasets.KEYPOINTS:
        print(example_page.describe_skeleton(data.skeleton))
    print(f"Training on {len(data.train)} photographs, testing on {len(data.validation)}")


def _evaluate(
    run: RunFolder, config: Mapping[str, Any], model: keras.Model, data: TrainingData
) -> None:
    """Measures and saves the trained network. The run is finished afterwards."""
    run.save_model(model)
    result = accuracy.evaluate_joints(model, data.test, data.skeleton)
    summary = {"epochs": config["epochs"], "parameters": model.count_params(), **result}
    write_json(run.metrics_path, summary)
    accuracy.print_results(result, _title(config))


def _check_folder(run: RunFolder, arguments: dict[str, Any], free: Sequence[str]) -> None:
    """Raises a `RunFolderError` if the folder holds a run with other arguments.

    Arguments that config.json lacks, because an older version wrote it, count as their defaults.
    """
    defaults = vars(training_arguments.make_parser().parse_args(["--run", str(run.path)]))
    run.check(arguments, free, {key: defaults[key] for key in defaults if key != "run"})


@contextlib.contextmanager
def _full_memory_or_disk_explained(run: RunFolder, config: Mapping[str, Any]) -> Iterator[None]:
    """Turns `OSError` and out-of-memory errors into a `UserError` that names the epochs kept."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{describe(error)}. {_kept_message(run, config)}") from error
    except Exception as error:
        if not _is_out_of_memory(error):
            raise
        remedy = "Try a smaller --batch_size, --image_size or --width."
        raise UserError(f"Out of memory. {_kept_message(run, config)} {remedy}") from error


def _is_out_of_memory(error: Exception) -> bool:
    # JAX has no error class of its own for this.
    return isinstance(error, MemoryError | tf.errors.ResourceExhaustedError) or (
        type(error).__name__ in ("XlaRuntimeError", "JaxRuntimeError")
        and "RESOURCE_EXHAUSTED" in str(error)
    )


def _kept_message(run: RunFolder, config: Mapping[str, Any]) -> str:
    state = run.load_state()
    if state is None:
        return "No epoch was finished, so nothing is kept; the same command starts again."
    done, epochs = int(state["step"]) // config["steps_per_epoch"], config["epochs"]
    return (
        f"{run.path} keeps everything up to the end of epoch {done} of {epochs}; the same command "
        "goes on from there."
    )
