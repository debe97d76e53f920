"""Trains a run in this process, epoch by epoch, and saves it after each one."""

import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from examples.pose import models
from examples.pose.evaluation import example_pages
from examples.pose.training import configuration, duration, initial_weights, input_pipeline
from examples.pose.training.curves import CurveWriter, disk_errors
from examples.pose.training.distribution import Workers
from examples.pose.training.run_folder import RunFolder
from examples.pose.training.trainer import DivergedError, Trainer
from examples.pose.training.training_data import TrainingData, evenly_spaced
from tf_boxconv.visualize import BoxLogger

# TensorBoard shows the predictions on this many photographs, about this many times in a run.
HANDFUL = 6
PAGES = 20


def make_trainer(config: Mapping[str, Any], num_joints: int, workers: Workers) -> Trainer:
    """Makes the trainer of a run, with the network's initial weights."""
    keras.utils.set_random_seed(config["seed"])
    return Trainer(
        lambda: configuration.build_model(config, num_joints),
        configuration.optimisation(config),
        workers,
    )


class Session:
    """Trains a run from its last finished epoch, or from the start.

    Args:
        run: The run folder.
        config: The arguments of the run.
        data: The photographs.
        workers: Devices to train on. Only the chief evaluates, writes and prints.

    Raises:
        UserError: The state of the run cannot be read, or the weights of `--init` do not fit.
    """

    def __init__(
        self, run: RunFolder, config: Mapping[str, Any], data: TrainingData, workers: Workers
    ):
        self._run, self._config, self._data, self._workers = run, config, data, workers
        self._epochs, self._epoch_steps = config["epochs"], config["steps_per_epoch"]
        self._trainer = make_trainer(config, data.skeleton.num_joints, workers)
        self._origin = self._restore()
        self._curves = CurveWriter(run.logs_path)

    def fit(self, description: Mapping[str, Any]) -> keras.Model:
        """Trains to the final epoch.

        Args:
            description: Content of config.json.

        Returns:
            The trained model, ready for use.

        Raises:
            DivergedError: The loss is not finite or has exploded.
        """
        trainer, first_epoch = self._trainer, self._trainer.done // self._epoch_steps
        network = trainer.inference
        self._print(f"{network.name}: {network.count_params():,} parameters")
        if self._origin:
            self._print(self._origin)
        batches = self._batches(range(trainer.done, self._epochs * self._epoch_steps))
        loggers = box_loggers(self._run, self._config, trainer.done)
        boxes = keras.callbacks.CallbackList(
            loggers if self._workers.is_chief else [], model=trainer.model
        )
        boxes.on_train_begin()
        for epoch in range(first_epoch, self._epochs):
            self._print(f"Epoch {epoch + 1}/{self._epochs}")
            loss, speed, state = self._train_epoch(epoch, batches, boxes)
            if self._workers.is_chief:
                self._save_epoch(epoch, loss, speed, state, description)
            with disk_errors(self._run.logs_path):
                boxes.on_epoch_end(epoch)
        with disk_errors(self._run.logs_path):
            boxes.on_train_end()
        trainer.update_inference()
        return network

    def epochs_in(self, minutes: float) -> int:
        """Returns the number of epochs that take about `minutes`, and prints it.

        It trains the network for some steps, so that this session is of no use afterwards.

        Raises:
            DivergedError: The loss of a step that is timed is not finite or has exploded.
        """
        print("Timing some steps", flush=True)
        batches = self._batches(range(np.iinfo(np.int64).max))
        try:
            epochs, expected = duration.epochs_in(
                minutes, self._epoch_steps, self._trainer, batches, self._measure
            )
        except DivergedError as error:
            raise DivergedError(self._advice(error, saved_steps=0)) from None
        epoch_or_epochs = "epoch takes" if epochs == 1 else "epochs take"
        print(f"{epochs} {epoch_or_epochs} about {expected:.1f} min on this machine.", flush=True)
        return epochs

    def _train_epoch(
        self, epoch: int, batches: Iterator[Sequence], boxes: keras.callbacks.CallbackList
    ) -> tuple[float, float, dict[str, np.ndarray]]:
        """Returns the mean loss, the images per second, and the state after the epoch."""
        start = time.monotonic()
        try:
            loss = self._trainer.run(
                batches,
                self._epoch_steps,
                self._progress_bar(),
                lambda made: boxes.on_train_batch_end(made - 1),
            )
            seconds = time.monotonic() - start
            self._trainer.update_inference()
            state = self._trainer.state()
        except DivergedError as error:
            raise DivergedError(self._advice(error, epoch * self._epoch_steps)) from None
        return loss, self._epoch_steps * self._config["batch_size"] / seconds, state

    def _save_epoch(
        self,
        epoch: int,
        loss: float,
        speed: float,
        state: Mapping[str, np.ndarray],
        description: Mapping[str, Any],
    ) -> None:
        """Measures the network, writes the run folder, and prints a line."""
        step, curves = self._trainer.done, self._curves
        pck, rate = self._measure(), self._trainer.learning_rate(step - 1)
        self._run.begin(description)
        # The curves are written before the state. If the process is killed in between, the epoch is
        # trained and its points are written again.
        curves.add(step, loss=loss, pck=pck, learning_rate=rate)
        if epoch % math.ceil(self._epochs / PAGES) == 0 or epoch == self._epochs - 1:
            curves.add_picture(step, "predictions", self._draw_handful())
        self._run.save_state(state)
        self._run.save_model(self._trainer.inference)
        self._print(f"  loss {loss:.4f}, PCK {pck:.1f}, {speed:.0f} images/s, rate {rate:.2e}")

    def _measure(self) -> float:
        """PCK@0.2 on the photographs to validate on, in percent, without flip test."""
        data = self._data
        return self._trainer.measure(data.validation, data.skeleton, self._config["batch_size"])

    def _draw_handful(self) -> np.ndarray:
        """Draws the predictions on a few photographs, always the same, beside the labels."""
        few = evenly_spaced(self._data.validation, HANDFUL)
        joints, scores = self._trainer.predict(few.images)
        return example_pages.draw_handful(few, self._data.skeleton, joints, scores)

    def _batches(self, steps: range) -> Iterator[Sequence]:
        config, data = self._config, self._data
        return iter(
            self._workers.distribute(
                lambda parts, count: input_pipeline.training_batches(
                    data.train,
                    data.skeleton.flip_order,
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

    def _restore(self) -> str:
        """Restores the state of the run, or copies the weights of `--init`.

        Returns:
            A sentence that says so. It is empty if the weights are random.
        """
        state = self._run.load_state()
        if state is not None:
            self._trainer.restore(state)
            epoch = self._trainer.done // self._epoch_steps
            return f"Resuming {self._run.path} after epoch {epoch} of {self._epochs}"
        return self._copy_initial_weights() if self._config["init"] else ""

    def _copy_initial_weights(self) -> str:
        """Copies the weights of `--init`. Returns a sentence that says which ones."""
        source = initial_weights.load(self._config["init"])
        with self._workers.scope():
            return initial_weights.copy(
                source,
                self._trainer.model,
                self._data.skeleton.joint_names,
                lambda num_joints: configuration.build_model(self._config, num_joints),
            )

    def _progress_bar(self):
        """Returns a function of (steps made, loss) that draws a progress bar if on a terminal."""
        if not (self._workers.is_chief and sys.stdout.isatty()):
            return lambda step, loss: None
        bar = keras.utils.Progbar(self._epoch_steps, stateful_metrics=["loss"])
        return lambda step, loss: bar.update(step, [("loss", loss)])

    def _print(self, line: str) -> None:
        if self._workers.is_chief:
            print(line, flush=True)

    def _advice(self, error: DivergedError, saved_steps: int) -> str:
        """Returns the error's message with the last checkpoint and a remedy."""
        remedy = "Try a lower --learning_rate, or --clip_norm 1"
        state_path = self._run.state_path
        if not state_path.exists():
            return f"{error} There is no checkpoint yet. {remedy}."
        saved = f"The last good checkpoint, {state_path}, is of step {saved_steps}."
        return f"{error} {saved} {remedy}, in another --run."


def box_loggers(
    run: RunFolder, config: Mapping[str, Any], done: int
) -> list[keras.callbacks.Callback]:
    """The `BoxLogger` of a run, in a list.

    The list is empty without `--log_boxes`, for a network without boxes, and for a finished run.

    Args:
        run: The run folder, for the output.
        config: The arguments of the run.
        done: Number of steps made in earlier sessions.
    """
    finished = done == config["epochs"] * config["steps_per_epoch"]
    if not config.get("log_boxes") or not models.has_boxes(config["context"]) or finished:
        return []
    every = max(1, config["steps_per_epoch"] // 10)
    return [BoxLogger(run.logs_path, run.path / "boxes.gif", every=every, first_batch=done)]
