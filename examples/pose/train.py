"""Trains a pose network, with progress, curves and exact resume, and measures it at the end.

    python -m examples.pose.train --dataset stick_figures --run runs/demo
    python -m examples.pose.train --dataset lsp+lspet --data_dir DIR --run runs/lsp_box
    python -m examples.pose.train --dataset mpii+coco_keypoints --data_dir DIR --run runs/mixed

A run that was stopped or killed goes on from its last finished epoch when the same command is given
again, and ends as if nothing had happened: the batches depend on the seed and the step only.
`examples.pose.launch` runs it in several processes, and starts them again should one die. It trains
on Keras's backends TensorFlow and JAX; what one began the other can go on with.
"""

import argparse
import contextlib
import json
import sys
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from examples.pose import command_line, datasets, evaluate, input_pipeline, models
from examples.pose.datasets import Skeleton
from examples.pose.distribution import STRATEGIES, Workers, make_workers
from examples.pose.input_pipeline import Photographs
from examples.pose.models.blocks import BOX_CONTEXTS, Context
from examples.pose.optimisation import PRECISIONS, Optimisation
from examples.pose.run_folder import RunFolder, write_json
from examples.pose.trainer import DivergedError, Trainer
from tf_boxconv.visualize import BoxLogger

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


def read_training_photographs(
    names: list[str],
    size: int,
    data_dir: str | None,
    prepared_dir: str | None,
    skip_broken: bool = False,
) -> tuple[Photographs, Skeleton]:
    """Reads the training splits of data sets, letterboxed to one size, with the first one's joints.

    Raises:
        ValueError: A data set has none of the joints of the first.
    """
    joined, target = None, None
    for name in names:
        dataset, skeleton = datasets.load(name, "train", data_dir, prepared_dir, skip_broken)
        target = target or skeleton
        try:
            dataset = datasets.with_joints(dataset, skeleton, target)
        except ValueError as error:
            raise ValueError(f"--dataset joins {names[0]} and {name}. {error}") from None
        # What they say more of people differs from one to the other.
        dataset = dataset.map(lambda e: {key: e[key] for key in ("image", "joints", "visibility")})
        joined = dataset if joined is None else joined.concatenate(dataset)
    title = f"reading {'+'.join(names)} train"
    return input_pipeline.read_photographs(joined, size, title), target


def make_trainer(config: dict[str, Any], num_joints: int, workers: Workers) -> Trainer:
    """A trainer of the network that a run's arguments describe, with its first weights."""
    keras.utils.set_random_seed(config["seed"])
    arguments = {key: config[key] for key in MODEL_ARGUMENTS}
    settings = Optimisation(
        steps=config["epochs"] * config["steps_per_epoch"],
        learning_rate=config["learning_rate"],
        weight_decay=config["weight_decay"],
        clip_norm=config["clip_norm"],
        ema=config["ema"],
        precision=config["precision"],
    )
    return Trainer(
        lambda: models.build(config["model"], num_joints=num_joints, **arguments),
        settings,
        workers,
    )


def fit(
    run: RunFolder,
    config: dict[str, Any],
    train_photographs: Photographs,
    test_photographs: Photographs,
    skeleton: Skeleton,
    workers: Workers,
) -> keras.Model:
    """Trains from the last finished epoch of the run, or from the start, to the last epoch.

    Args:
        run: Where the run is saved.
        config: The arguments of the run.
        train_photographs: What to train on.
        test_photographs: What to measure on after each epoch, letterboxed to the image size.
        skeleton: The joints.
        workers: Where to train. The chief alone measures, writes and prints.

    Returns:
        The trained model, ready for use.

    Raises:
        DivergedError: The loss is not finite or has exploded.
    """
    trainer = make_trainer(config, skeleton.num_joints, workers)
    epochs, epoch_steps = config["epochs"], config["steps_per_epoch"]
    state = run.load_state()
    if state is not None:
        trainer.restore(state)
    first_epoch = trainer.done // epoch_steps
    say = print if workers.is_chief else lambda *_, **__: None
    say(f"{trainer.inference.name}: {trainer.inference.count_params():,} parameters")
    if first_epoch:
        say(f"Resuming {run.path} after epoch {first_epoch} of {epochs}", flush=True)
    batches = iter(
        workers.distribute(
            lambda parts, count: input_pipeline.training_batches(
                train_photographs,
                skeleton.flip_order,
                config["image_size"],
                config["batch_size"],
                steps=range(trainer.done, epochs * epoch_steps),
                seed=config["seed"],
                parts=parts,
                num_parts=count,
            )
        )
    )
    curves = tf.summary.create_file_writer(str(run.logs_path)) if workers.is_chief else None
    boxes = keras.callbacks.CallbackList(
        box_loggers(run, config, trainer.done) if workers.is_chief else [], model=trainer.model
    )
    boxes.on_train_begin()
    for epoch in range(first_epoch, epochs):
        say(f"Epoch {epoch + 1}/{epochs}", flush=True)
        start = time.monotonic()
        try:
            progress = _progress_bar(epoch_steps, workers)
            loss = trainer.run(
                batches, epoch_steps, progress, lambda made: boxes.on_train_batch_end(made - 1)
            )
            speed = epoch_steps * config["batch_size"] / (time.monotonic() - start)
            trainer.update_inference()
            state = trainer.state()
            if workers.is_chief:
                pck = trainer.measure(test_photographs, skeleton, config["batch_size"])
                run.save_model(trainer.inference)
                run.save_state(state)
        except DivergedError as error:
            raise DivergedError(_advice(error, run, epoch * epoch_steps)) from None
        if workers.is_chief:
            rate = trainer.learning_rate(trainer.done - 1)
            say(f"  loss {loss:.4f}, PCK {pck:.1f}, {speed:.0f} images/s, rate {rate:.2e}")
            with curves.as_default(step=trainer.done):
                for name, value in [("loss", loss), ("pck", pck), ("learning_rate", rate)]:
                    tf.summary.scalar(name, value)
            curves.flush()
        boxes.on_epoch_end(epoch)
    boxes.on_train_end()
    trainer.update_inference()
    return trainer.inference


def _progress_bar(steps: int, workers: Workers):
    """What to call with the steps made and their loss: a bar on a terminal, nothing elsewhere."""
    if not (workers.is_chief and sys.stdout.isatty()):
        return lambda step, loss: None
    bar = keras.utils.Progbar(steps, stateful_metrics=["loss"])
    return lambda step, loss: bar.update(step, [("loss", loss)])


def _advice(error: DivergedError, run: RunFolder, saved_steps: int) -> str:
    saved = "There is no checkpoint yet."
    if run.state_path.exists():
        saved = f"The last good checkpoint is that of step {saved_steps}, {run.state_path}."
    return f"{error} {saved} Try a lower --learning_rate, or --clip_norm 1, in another --run."


def box_loggers(
    run: RunFolder, config: dict[str, Any], done: int
) -> list[keras.callbacks.Callback]:
    """The callback that shows the boxes of a box model in training, where that is wanted.

    Args:
        run: Where it writes.
        config: The arguments of the run.
        done: Steps made before; if these are all of them, nothing is left to be shown.
    """
    context = config["context"] or Context().kind
    finished = done == config["epochs"] * config["steps_per_epoch"]
    if not config.get("log_boxes") or context not in BOX_CONTEXTS or finished:
        return []
    every = max(1, config["steps_per_epoch"] // 10)
    return [BoxLogger(run.logs_path, run.path / "boxes.gif", every=every, first_batch=done)]


def train(config: dict[str, Any]) -> None:
    """Trains and measures one run, from where it stands to its end.

    Args:
        config: A value for each argument of the command line.

    Raises:
        RunFolderError: The run folder holds a run with other arguments, or is in use.
        DivergedError: The loss is not finite or has exploded.
    """
    run = RunFolder(config["run"])
    names = datasets.parse_names(config["dataset"])
    split = datasets.evaluation_split(names[0])
    title = f"{run.path} on {names[0]} {split}, with flip test"
    # A run with other arguments should be refused before anything is waited for or read.
    arguments = {key: value for key, value in config.items() if key != "run"}
    run.check(arguments, free=(*FREE_ARGUMENTS, "skeleton"))
    workers = make_workers(config["strategy"])
    with run.lock() if workers.is_chief else contextlib.nullcontext():
        if run.metrics is not None:
            print(f"{run.path} is finished: {config['epochs']} epochs done. Nothing to do.")
            evaluate.print_results(run.metrics, title)
            return

        places = config["data_dir"], config["prepared_dir"]
        skip = {"skip_broken": config.get("skip_broken", False)}
        image_size = config["image_size"]
        canvas = round(image_size * input_pipeline.CANVAS_SCALE)
        # First what would be missing last: an unknown test split should not cost a training.
        test_photographs, skeleton = evaluate.read_test_photographs(
            names[0], image_size, *places, **skip
        )
        train_photographs, train_skeleton = read_training_photographs(
            names, canvas, *places, **skip
        )
        train_photographs = some_of(train_photographs, config["limit_train"])
        shown = test_photographs[: config["validation_size"]]
        if workers.is_chief:
            run.begin({**arguments, "skeleton": skeleton.to_metadata()}, free=FREE_ARGUMENTS)
            print(f"Training on {len(train_photographs)} photographs, testing on {len(shown)}")

        model = fit(run, config, train_photographs, shown, train_skeleton, workers)
        if workers.is_chief:
            run.save_model(model)
            result = evaluate.evaluate_joints(model, test_photographs, skeleton)
            summary = {"epochs": config["epochs"], "parameters": model.count_params(), **result}
            write_json(run.metrics_path, summary)
            evaluate.print_results(result, title)
        workers.wait()


def some_of(photographs: Photographs, limit: int | None) -> Photographs:
    """At most so many photographs, from all over: data sets that are joined lie one after another.

    None stands for all of them.
    """
    count = len(photographs)
    if limit is None or limit >= count:
        return photographs
    return photographs[np.arange(limit) * count // limit]


def json_object(text: str) -> dict[str, Any]:
    """Parses a JSON object of the command line."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"must be a JSON object such as '{{}}', got {text!r}")
    return value


def positive(text: str) -> int:
    """Parses a positive integer of the command line."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def make_parser() -> argparse.ArgumentParser:
    """The command line of this module."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.pose.train",
        description="Trains a pose network. The same command again resumes a run that was stopped.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--run", required=True, help="folder for everything the run writes")
    add(
        "--dataset",
        default="stick_figures",
        help=f"one or several of {', '.join(datasets.NAMES)}, joined by '+'; the first one has "
        "the joints to find, and the split to test on",
    )
    command_line.add_data_arguments(parser)
    add_model_arguments(parser)
    add_optimisation_arguments(parser)
    add("--seed", type=int, default=0, help="determines weights, order and augmentation")
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
        type=json_object,
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


def main(argv: list[str] | None = None) -> None:
    """Trains as the command line says."""
    train(vars(make_parser().parse_args(argv)))


if __name__ == "__main__":
    sys.exit(command_line.run(main))
