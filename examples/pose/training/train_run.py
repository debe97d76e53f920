"""Trains a run from its last finished epoch, or from the start, and evaluates it at the end."""

import contextlib
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from examples.pose import datasets
from examples.pose.cli import interruption
from examples.pose.cli.errors import UserError, as_user_error, describe
from examples.pose.datasets import example_page, in_memory, joint_mapping
from examples.pose.datasets.in_memory import Photographs
from examples.pose.datasets.skeletons import Skeleton
from examples.pose.evaluation import accuracy, example_pages
from examples.pose.files.atomic_write import write_json
from examples.pose.models import BOX_CONTEXTS
from examples.pose.models.blocks import Context
from examples.pose.training import (
    configuration,
    duration,
    initial_weights,
    input_pipeline,
    training_arguments,
)
from examples.pose.training.curves import CurveWriter, disk_errors
from examples.pose.training.distribution import Workers, make_workers
from examples.pose.training.run_folder import RunFolder
from examples.pose.training.trainer import DivergedError, Trainer
from examples.pose.training.training_arguments import FREE_ARGUMENTS
from tf_boxconv.visualize import BoxLogger

# TensorBoard shows the predictions on this many photographs, about this many times in a run.
HANDFUL = 6
PAGES = 20


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


def make_trainer(config: dict[str, Any], num_joints: int, workers: Workers) -> Trainer:
    """Makes the trainer of a run, with the network's initial weights."""
    keras.utils.set_random_seed(config["seed"])
    return Trainer(
        lambda: configuration.build_model(config, num_joints),
        configuration.optimisation(config),
        workers,
    )


def fit(
    run: RunFolder,
    config: dict[str, Any],
    train_photographs: Photographs,
    test_photographs: Photographs,
    skeleton: Skeleton,
    workers: Workers,
    description: dict[str, Any],
) -> keras.Model:
    """Trains from the last finished epoch of the run, or from the start, to the final epoch.

    Args:
        run: The run folder.
        config: The arguments of the run.
        train_photographs: Photographs to train on.
        test_photographs: Photographs to evaluate on after each epoch, letterboxed to the image
            size.
        skeleton: The joints.
        workers: Devices to train on. Only the chief evaluates, writes and prints.
        description: Content of config.json.

    Returns:
        The trained model, ready for use.

    Raises:
        DivergedError: The loss is not finite or has exploded.
    """
    trainer = make_trainer(config, skeleton.num_joints, workers)
    epochs, epoch_steps = config["epochs"], config["steps_per_epoch"]
    print_once = print if workers.is_chief else lambda *_, **__: None
    state = run.load_state()
    if state is not None:
        trainer.restore(state)
    elif config["init"]:
        print_once(_start_from(config, trainer, skeleton, workers))
    first_epoch = trainer.done // epoch_steps
    print_once(f"{trainer.inference.name}: {trainer.inference.count_params():,} parameters")
    if first_epoch:
        print_once(f"Resuming {run.path} after epoch {first_epoch} of {epochs}", flush=True)
    steps = range(trainer.done, epochs * epoch_steps)
    batches = _training_batches(config, train_photographs, skeleton, workers, steps)
    curves = CurveWriter(run.logs_path)
    boxes = keras.callbacks.CallbackList(
        box_loggers(run, config, trainer.done) if workers.is_chief else [], model=trainer.model
    )
    boxes.on_train_begin()
    for epoch in range(first_epoch, epochs):
        print_once(f"Epoch {epoch + 1}/{epochs}", flush=True)
        start = time.monotonic()
        try:
            progress = _progress_bar(epoch_steps, workers)
            loss = trainer.run(
                batches, epoch_steps, progress, lambda made: boxes.on_train_batch_end(made - 1)
            )
            speed = epoch_steps * config["batch_size"] / (time.monotonic() - start)
            trainer.update_inference()
            state = trainer.state()
        except DivergedError as error:
            raise DivergedError(_advice(error, run, epoch * epoch_steps)) from None
        if workers.is_chief:
            pck = trainer.measure(test_photographs, skeleton, config["batch_size"])
            rate = trainer.learning_rate(trainer.done - 1)
            run.begin(description)
            # The curves are written before the state. If the process is killed in between, the
            # epoch is trained and its points are written again.
            curves.add(trainer.done, loss=loss, pck=pck, learning_rate=rate)
            if epoch % math.ceil(epochs / PAGES) == 0 or epoch == epochs - 1:
                page = _draw_handful(trainer, test_photographs, skeleton)
                curves.add_picture(trainer.done, "predictions", page)
            run.save_state(state)
            run.save_model(trainer.inference)
            print_once(f"  loss {loss:.4f}, PCK {pck:.1f}, {speed:.0f} images/s, rate {rate:.2e}")
        with disk_errors(run.logs_path):
            boxes.on_epoch_end(epoch)
    with disk_errors(run.logs_path):
        boxes.on_train_end()
    trainer.update_inference()
    return trainer.inference


def _training_batches(
    config: dict[str, Any],
    photographs: Photographs,
    skeleton: Skeleton,
    workers: Workers,
    steps: range,
) -> Iterator[Sequence]:
    return iter(
        workers.distribute(
            lambda parts, count: input_pipeline.training_batches(
                photographs,
                skeleton.flip_order,
                config["image_size"],
                config["batch_size"],
                steps=steps,
                seed=config["seed"],
                parts=parts,
                num_parts=count,
                augmentation=config["augmentation"],
            )
        )
    )


def _epochs_in_minutes(
    run: RunFolder,
    config: dict[str, Any],
    train_photographs: Photographs,
    test_photographs: Photographs,
    skeleton: Skeleton,
    workers: Workers,
) -> int:
    """The number of epochs of a run with `--minutes`. Prints it.

    Raises:
        DivergedError: The loss of a step that is timed is not finite or has exploded.
        UserError: The weights of `--init` do not fit.
    """
    trainer = make_trainer(config, skeleton.num_joints, workers)
    if config["init"]:
        _start_from(config, trainer, skeleton, workers)
    steps = range(np.iinfo(np.int64).max)
    batches = _training_batches(config, train_photographs, skeleton, workers, steps)
    print("Timing some steps", flush=True)
    try:
        epochs, minutes = duration.epochs_in(
            config["minutes"],
            config["steps_per_epoch"],
            trainer,
            batches,
            lambda: trainer.measure(test_photographs, skeleton, config["batch_size"]),
        )
    except DivergedError as error:
        raise DivergedError(_advice(error, run, saved_steps=0)) from None
    epoch_or_epochs = "epoch takes" if epochs == 1 else "epochs take"
    print(f"{epochs} {epoch_or_epochs} about {minutes:.1f} min on this machine.", flush=True)
    return epochs


def _draw_handful(trainer: Trainer, photographs: Photographs, skeleton: Skeleton) -> np.ndarray:
    """Draws the predictions on a few photographs, always the same, beside the labelled poses."""
    few = evenly_spaced(photographs, HANDFUL)
    joints, scores = trainer.predict(few.images)
    return example_pages.draw_handful(few, skeleton, joints, scores)


def _start_from(
    config: dict[str, Any], trainer: Trainer, skeleton: Skeleton, workers: Workers
) -> str:
    """Copies the weights of `--init`. Returns a sentence that says which ones."""
    source = initial_weights.load(config["init"])
    with workers.scope():
        return initial_weights.copy(
            source,
            trainer.model,
            skeleton.joint_names,
            lambda num_joints: configuration.build_model(config, num_joints),
        )


def _progress_bar(steps: int, workers: Workers):
    """Returns a function of (steps made, loss) that draws a progress bar if on a terminal."""
    if not (workers.is_chief and sys.stdout.isatty()):
        return lambda step, loss: None
    bar = keras.utils.Progbar(steps, stateful_metrics=["loss"])
    return lambda step, loss: bar.update(step, [("loss", loss)])


def _advice(error: DivergedError, run: RunFolder, saved_steps: int) -> str:
    """Returns the error's message with the last checkpoint and a remedy."""
    remedy = "Try a lower --learning_rate, or --clip_norm 1"
    if not run.state_path.exists():
        return f"{error} There is no checkpoint yet. {remedy}."
    saved = f"The last good checkpoint, {run.state_path}, is of step {saved_steps}."
    return f"{error} {saved} {remedy}, in another --run."


def box_loggers(
    run: RunFolder, config: dict[str, Any], done: int
) -> list[keras.callbacks.Callback]:
    """The `BoxLogger` of a run, in a list.

    The list is empty without `--log_boxes`, for a network without boxes, and for a finished run.

    Args:
        run: The run folder, for the output.
        config: The arguments of the run.
        done: Number of steps made in earlier sessions.
    """
    context = config["context"] or Context().kind
    finished = done == config["epochs"] * config["steps_per_epoch"]
    if not config.get("log_boxes") or context not in BOX_CONTEXTS or finished:
        return []
    every = max(1, config["steps_per_epoch"] // 10)
    return [BoxLogger(run.logs_path, run.path / "boxes.gif", every=every, first_batch=done)]


def train(config: dict[str, Any]) -> None:
    """Trains a run from its last finished epoch, or from the start, to its end and evaluates it.

    Args:
        config: A value for each argument of the command line.

    Raises:
        UserError: The arguments are invalid, a data set cannot be read, the run folder holds a run
            with other arguments or is in use, the training diverges, or memory or disk are full.
            If no epoch was finished, the run folder is as it was before.
    """
    run = RunFolder(config["run"])
    names = training_arguments.dataset_names(config["dataset"])
    title = f"{run.path} on {names[0]} {datasets.evaluation_split(names[0])}, with flip test"
    config = dict(config)
    _keep_length(run, config)
    arguments = {key: value for key, value in config.items() if key != "run"}
    # Before waiting for workers, and before reading or writing anything.
    configuration.check(config)
    if config["strategy"] == "multiworker":
        configuration.check_minutes(config, run)
    is_extension, extended_from = _is_extension(run, config), _earlier_lengths(run, config)
    free = (*FREE_ARGUMENTS, "digests", "extended_from")
    if is_extension:
        free += ("epochs", "minutes")
    _check_folder(run, arguments, (*free, "skeleton"))
    with as_user_error(ValueError):
        workers = make_workers(config["strategy"])
    if run.metrics is not None and run.metrics.get("epochs") == config["epochs"]:
        if workers.is_chief:
            print(f"{run.path} is finished: {config['epochs']} epochs done. Nothing to do.")
            accuracy.print_results(run.metrics, title)
        return
    run.require_state()
    with as_user_error(ValueError):
        input_pipeline.part_size(config["batch_size"], workers.replicas)
    configuration.build_model(config)
    with (
        interruption.explain_stop(lambda: _kept_message(run, config) if workers.is_chief else ""),
        run.lock() if workers.is_chief else contextlib.nullcontext(),
    ):
        folders = config["data_dir"], config["prepared_dir"], configuration.keypoint_files(config)
        skip = {"skip_broken": config.get("skip_broken", False)}
        image_size = config["image_size"]
        canvas = round(image_size * input_pipeline.CANVAS_SCALE)
        # Test photographs first: if they are missing, fail before the training, not after it.
        test_photographs, skeleton = accuracy.read_test_photographs(
            names[0], image_size, *folders, **skip
        )
        train_photographs, train_skeleton = read_training_photographs(
            names, canvas, *folders, **skip
        )
        digests = {"train": train_photographs.digest, "test": test_photographs.digest}
        train_photographs = evenly_spaced(train_photographs, config["limit_train"])
        validation = test_photographs[: config["validation_size"]]
        if config["minutes"] and not run.has_finished_epoch:
            with _full_memory_or_disk_explained(run, config):
                config["epochs"] = arguments["epochs"] = _epochs_in_minutes(
                    run, config, train_photographs, validation, train_skeleton, workers
                )
        description = {**arguments, "skeleton": skeleton.to_metadata(), "digests": digests}
        if extended_from:
            description["extended_from"] = extended_from
        _check_folder(run, description, free)
        _check_photographs(run, config["dataset"], digests)
        if workers.is_chief:
            if is_extension:
                print(_describe_extension(config, extended_from[-1]))
            if names[0] == datasets.KEYPOINTS:
                print(example_page.describe_skeleton(skeleton))
            print(f"Training on {len(train_photographs)} photographs, testing on {len(validation)}")

        with _full_memory_or_disk_explained(run, config):
            model = fit(
                run, config, train_photographs, validation, train_skeleton, workers, description
            )
            if workers.is_chief:
                run.save_model(model)
                result = accuracy.evaluate_joints(model, test_photographs, skeleton)
                summary = {"epochs": config["epochs"], "parameters": model.count_params(), **result}
                write_json(run.metrics_path, summary)
                accuracy.print_results(result, title)
        workers.wait()


def _keep_length(run: RunFolder, config: dict[str, Any]) -> None:
    """Gives a run that is resumed the number of epochs that it was begun with.

    `--minutes` determined this number. A run with `--minutes` is also resumed by the same number of
    `--epochs`.
    """
    if not (run.has_finished_epoch and run.config_path.exists()):
        return
    old = run.config
    if config["minutes"]:
        config["epochs"] = old["epochs"]
    elif config["epochs"] == old.get("epochs"):
        config["minutes"] = old.get("minutes")


def _is_extension(run: RunFolder, config: Mapping[str, Any]) -> bool:
    """Whether the run is finished and now gets more epochs."""
    if run.metrics is None or not run.config_path.exists():
        return False
    planned = run.config.get("epochs", 0)
    return run.metrics.get("epochs") == planned < config["epochs"]


def _earlier_lengths(run: RunFolder, config: Mapping[str, Any]) -> list[int]:
    """The numbers of epochs after which the run was finished before, in order."""
    if not run.config_path.exists():
        return []
    old = run.config
    extended = [old["epochs"]] if _is_extension(run, config) else []
    return [*old.get("extended_from", []), *extended]


def _describe_extension(config: Mapping[str, Any], finished: int) -> str:
    """Says how the learning rate goes on in a run that was finished after `finished` epochs."""
    rate = float(configuration.optimisation(config).schedule(finished * config["steps_per_epoch"]))
    return (
        f"Extending a run of {finished} epochs to {config['epochs']}. The learning rate follows "
        f"the schedule of {config['epochs']} epochs: it rises to {rate:.2e} at once, then falls to "
        "0. The result is not that of a training that had this length from the start."
    )


def _check_folder(run: RunFolder, arguments: dict[str, Any], free: Sequence[str]) -> None:
    """Raises a `RunFolderError` if the folder holds a run with other arguments.

    Arguments that config.json lacks, because an older version wrote it, count as their defaults.
    """
    defaults = vars(training_arguments.make_parser().parse_args(["--run", str(run.path)]))
    run.check(arguments, free, {key: defaults[key] for key in defaults if key != "run"})


def _check_photographs(run: RunFolder, dataset: str, digests: Mapping[str, str]) -> None:
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


def evenly_spaced(photographs: Photographs, limit: int | None) -> Photographs:
    """Returns at most `limit` photographs, evenly spaced; all of them if `limit` is None.

    Joined data sets follow one another, so the first `limit` photographs could all be from one.
    """
    count = len(photographs)
    if limit is None or limit >= count:
        return photographs
    return photographs[np.arange(limit) * count // limit]
