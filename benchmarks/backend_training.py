"""Trains the pose network on the current Keras backend, from saved weights and pictures.

`benchmarks.backends` runs this in one worker process for each backend.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

from examples.pose import models
from examples.pose.datasets.stick_figures import figure
from examples.pose.models import heatmaps
from examples.pose.training.optimisation import Optimisation

NUM_JOINTS = 14
IMAGE_SIZE = 96
BATCH = 16
# Length of the learning rate schedule, and its rate. Training amplifies rounding errors, and a
# higher rate amplifies them more: at 3e-4, changing all weights by 1e-7 changes losses by 8e-4
# within 100 steps, as much as changing the backend.
STEPS, LEARNING_RATE = 1000, 1e-4
ROUNDING = 1e-7
WEIGHTS, PICTURES = "start.weights.h5", "pictures.npz"


def prepare(folder: Path, context: str, width: int, batches: int = 8) -> None:
    """Writes the weights that all trainings start from, and the pictures and joints to train on."""
    keras.utils.set_random_seed(0)
    network(context, width).save_weights(folder / WEIGHTS)
    drawn = [figure.draw_figure(0, "train", index, IMAGE_SIZE) for index in range(batches * BATCH)]
    joints = [np.column_stack([d.joints, np.ones(NUM_JOINTS)]) for d in drawn]
    np.savez(
        folder / PICTURES,
        images=np.stack([d.image for d in drawn]).astype(np.float32),
        joints=np.stack(joints).astype(np.float32),
        width=width,
        context=context,
    )


def network(context: str, width: int) -> keras.Model:
    """Builds the pose network."""
    return models.build(
        "u_net", context=context, num_joints=NUM_JOINTS, image_size=IMAGE_SIZE, width=width
    )


class Training:
    """A network and the position in its training data."""

    def __init__(self, folder: Path, jit_compile: bool | str = "auto"):
        with np.load(folder / PICTURES) as pictures:
            self._images, self._joints = pictures["images"], pictures["joints"]
            self.model = network(str(pictures["context"]), int(pictures["width"]))
        self.model.load_weights(folder / WEIGHTS)
        self.model.compile(
            keras.optimizers.Adam(Optimisation(STEPS, LEARNING_RATE).schedule),
            loss=heatmaps.HeatmapCrossEntropy(),
            jit_compile=jit_compile,
        )
        self._step = 0

    def perturb(self, deviation: float) -> None:
        """Multiplies every trainable weight by 1 + noise of standard deviation `deviation`."""
        rng = np.random.default_rng(0)
        for variable in self.model.trainable_variables:
            weight = keras.ops.convert_to_numpy(variable.value)
            variable.assign(weight * (1 + deviation * rng.standard_normal(weight.shape)))

    def step(self) -> float:
        """Trains on the next batch and returns its loss."""
        start = self._step * BATCH % len(self._images)
        self._step += 1
        self.model.reset_metrics()  # Otherwise Keras returns the mean over all steps.
        batch = slice(start, start + BATCH)
        return float(self.model.train_on_batch(self._images[batch], self._joints[batch]))


def train(folder: Path, steps: int, deviation: float = 0.0) -> dict[str, Any]:
    """Trains, and returns the losses of all steps and the median seconds of a step.

    Runs in a worker. The first weights are perturbed by noise of relative size `deviation`.
    """
    training = Training(folder)
    if deviation:
        training.perturb(deviation)
    losses, seconds = [], []
    for _ in range(steps):
        start = time.perf_counter()
        losses.append(training.step())
        seconds.append(time.perf_counter() - start)
    jit = bool(training.model.jit_compile)
    return {"losses": losses, "seconds": float(np.median(seconds)), "jit_compile": jit}


def train_with_and_without_xla(folder: Path, steps: int) -> dict[str, dict[str, list[float]]]:
    """Returns losses and seconds of each step, with and without XLA. Runs in a worker."""
    trainings = {"without XLA": Training(folder, False), "XLA": Training(folder, True)}
    found = {name: {"losses": [], "seconds": []} for name in trainings}
    for i in range(steps):
        # The order alternates, so that both benefit equally from the caches.
        for name in list(trainings)[:: 1 if i % 2 else -1]:
            start = time.perf_counter()
            found[name]["losses"].append(trainings[name].step())
            found[name]["seconds"].append(time.perf_counter() - start)
    assert trainings["XLA"].model.jit_compile and not trainings["without XLA"].model.jit_compile
    return found
