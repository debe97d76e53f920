"""Trains a pose network, with progress, curves and exact resume, and measures it at the end.

    python -m examples.pose.train --dataset stick_figures --run runs/demo
    python -m examples.pose.train --dataset lsp+lspet --data_dir DIR --run runs/lsp_box
    python -m examples.pose.train --dataset mpii+coco_keypoints --data_dir DIR --run runs/mixed

A run that was stopped or killed goes on from its last finished epoch when the same command is given
again, and ends as if nothing had happened: the batches depend on the seed and the step only.
"""

import argparse
import sys
from typing import Any

import keras

from examples.pose import (
    command_line,
    datasets,
    evaluate,
    heatmaps,
    input_pipeline,
    metrics,
    models,
)
from examples.pose.datasets import Skeleton
from examples.pose.input_pipeline import Photographs
from examples.pose.run_folder import RunFolder, RunFolderError, SaveEveryEpoch, write_json
from tf_boxconv.visualize import BoxLogger

WARMUP_STEPS = 100
# These say where things are and what is shown, not what the run is: they may change between stop
# and resume.
FREE_ARGUMENTS = ("data_dir", "prepared_dir", "log_boxes")


def read_training_photographs(
    names: list[str], size: int, data_dir: str | None, prepared_dir: str | None
) -> tuple[Photographs, Skeleton]:
    """Reads the training splits of data sets, letterboxed to one size, with the first one's joints.

    Raises:
        ValueError: A data set has none of the joints of the first.
    """
    parts, target = [], None
    for name in names:
        dataset, skeleton = datasets.load(name, "train", data_dir, prepared_dir)
        target = target or skeleton
        try:
            dataset = datasets.with_joints(dataset, skeleton, target)
        except ValueError as error:
            raise ValueError(f"--dataset joins {names[0]} and {name}. {error}") from None
        parts.append(input_pipeline.read_photographs(dataset, size, f"reading {name} train"))
    return input_pipeline.concatenate(parts), target


def compile_model(model: keras.Model, skeleton: Skeleton, learning_rate: float, steps: int) -> None:
    """Sets the loss, PCK@0.2 and Adam, whose rate rises for a little and then falls as a cosine.

    Args:
        model: A pose network.
        skeleton: The joints it finds.
        learning_rate: The highest rate.
        steps: The length of the whole training.
    """
    warmup = min(WARMUP_STEPS, steps // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else learning_rate,
        decay_steps=steps - warmup,
        warmup_target=learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    model.compile(
        optimizer=keras.optimizers.Adam(schedule),
        loss=heatmaps.HeatmapCrossEntropy(),
        metrics=[metrics.PCK(skeleton.num_joints, skeleton.pck_reference)],
    )


def fit(
    run: RunFolder,
    config: dict[str, Any],
    train_photographs: Photographs,
    test_photographs: Photographs,
    skeleton: Skeleton,
) -> keras.Model:
    """Trains from the last finished epoch of the run, or from the start, to the last epoch.

    Args:
        run: Where the run is saved.
        config: The arguments of the run.
        train_photographs: What to train on.
        test_photographs: What to measure on after each epoch, letterboxed to the image size.
        skeleton: The joints.

    Returns:
        The trained model.
    """
    keras.utils.set_random_seed(config["seed"])
    model = models.pose_net(
        config["model"],
        num_joints=skeleton.num_joints,
        image_size=config["image_size"],
        width=config["width"],
        kernel_size=config["kernel_size"],
    )
    epochs, steps_per_epoch = config["epochs"], config["steps_per_epoch"]
    compile_model(model, skeleton, config["learning_rate"], epochs * steps_per_epoch)
    done = run.restore_backup(model)
    print(f"{model.name}: {model.count_params():,} parameters")
    if done:
        print(f"Resuming {run.path} after epoch {done // steps_per_epoch} of {epochs}")
    if done < epochs * steps_per_epoch:
        batches = input_pipeline.training_batches(
            train_photographs,
            skeleton.flip_order,
            config["image_size"],
            config["batch_size"],
            steps=range(done, epochs * steps_per_epoch),
            seed=config["seed"],
        )
        model.fit(
            batches,
            shuffle=False,
            steps_per_epoch=steps_per_epoch,
            initial_epoch=done // steps_per_epoch,
            epochs=epochs,
            validation_data=input_pipeline.plain_batches(test_photographs, config["batch_size"]),
            callbacks=[
                keras.callbacks.TensorBoard(run.logs_path, write_graph=False),
                SaveEveryEpoch(run),
                *box_loggers(run, config),
            ],
            verbose=1 if sys.stdout.isatty() else 2,
        )
    return model


def box_loggers(run: RunFolder, config: dict[str, Any]) -> list[keras.callbacks.Callback]:
    """The callback that shows the boxes of a box model in training, where that is wanted."""
    if not config.get("log_boxes") or config["model"] != "box":
        return []
    every = max(1, config["steps_per_epoch"] // 10)
    return [BoxLogger(run.logs_path, run.path / "boxes.gif", every=every)]


def train(config: dict[str, Any]) -> None:
    """Trains and measures one run, from where it stands to its end.

    Args:
        config: A value for each argument of the command line.

    Raises:
        RunFolderError: The run folder holds a run with other arguments, or is in use.
    """
    run = RunFolder(config["run"])
    names = config["dataset"].split("+")
    split = datasets.evaluation_split(names[0])
    title = f"{run.path} on {names[0]} {split}, with flip test"
    with run.lock():
        # A run with other arguments should be refused before any data is read.
        arguments = {key: value for key, value in config.items() if key != "run"}
        run.check(arguments, free=(*FREE_ARGUMENTS, "skeleton"))
        if run.metrics is not None:
            print(f"{run.path} is finished: {config['epochs']} epochs done. Nothing to do.")
            evaluate.print_results(run.metrics, title)
            return

        places = config["data_dir"], config["prepared_dir"]
        image_size = config["image_size"]
        canvas = round(image_size * input_pipeline.CANVAS_SCALE)
        # First what would be missing last: an unknown test split should not cost a training.
        test_photographs, skeleton = evaluate.read_test_photographs(names[0], image_size, *places)
        train_photographs, train_skeleton = read_training_photographs(names, canvas, *places)
        train_photographs = train_photographs[: config["limit_train"]]
        run.begin({**arguments, "skeleton": skeleton.to_metadata()}, free=FREE_ARGUMENTS)
        shown = test_photographs[: config["validation_size"]]
        print(f"Training on {len(train_photographs)} photographs, testing on {len(shown)} of them")

        model = fit(run, config, train_photographs, shown, train_skeleton)
        run.save_model(model)
        result = evaluate.evaluate_joints(model, test_photographs, skeleton)
        summary = {"epochs": config["epochs"], "parameters": model.count_params(), **result}
        write_json(run.metrics_path, summary)
        evaluate.print_results(result, title)


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
    add("--model", default="box", choices=models.KINDS, help="what gathers context in each block")
    add("--kernel_size", type=positive, default=7, help="of the depthwise model's wide kernels")
    add("--image_size", type=positive, default=96, help="pixels; a multiple of 16")
    add("--width", type=positive, default=32, help="channels at the highest resolution")
    add("--batch_size", type=positive, default=16, help="images a step")
    add("--steps_per_epoch", type=positive, default=250, help="steps between two saves")
    add("--epochs", type=positive, default=24, help="times steps_per_epoch is the training")
    add("--learning_rate", type=float, default=2e-3, help="highest learning rate")
    add("--seed", type=int, default=0, help="determines weights, order and augmentation")
    add("--limit_train", type=positive, help="use only so many training photographs")
    add(
        "--validation_size",
        type=positive,
        default=200,
        help="test photographs to measure on after each epoch; the end measures on all",
    )
    parser.add_argument(
        "--log_boxes",
        action="store_true",
        help="show the boxes in TensorBoard each epoch, and in boxes.gif when training ends",
    )
    return parser


def main(argv: list[str] | None = None) -> None:
    """Trains as the command line says."""
    config = vars(make_parser().parse_args(argv))
    if not config["learning_rate"] > 0:
        raise RunFolderError(f"--learning_rate must be positive, got {config['learning_rate']}.")
    train(config)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
