"""The devices of a training: one device, several of one process, or several processes.

    --strategy none         this process, on one device
    --strategy mirrored     this process, on all its GPUs (or CPUs, where there is none)
    --strategy multiworker  several processes that the environment variable TF_CONFIG describes, the
                            same command in each; `examples.pose.launch` starts them on one machine

All strategies make the same steps: a batch is divided into equal parts. Two Keras backends are
supported, with a module each: TensorFlow by `tf.distribute`, JAX by `keras.distribution`.
"""

import contextlib
import importlib
import json
import os
from collections.abc import Callable, Iterable
from typing import Protocol

import keras
import tensorflow as tf

from examples.pose.training import STRATEGIES

BACKENDS = ("tensorflow", "jax")


class Workers(Protocol):
    """The devices of a training, in all processes.

    Attributes:
        replicas: The number of devices.
        is_chief: Whether this process writes files and prints.
    """

    replicas: int
    is_chief: bool

    def scope(self) -> contextlib.AbstractContextManager:
        """A context in which variables are created and assigned on all devices."""

    def distribute(self, make_batches: Callable[[range, int], tf.data.Dataset]) -> Iterable:
        """The batches, each divided among the devices.

        Args:
            make_batches: `make_batches(parts, count)` yields, for every batch, the parts with the
                numbers `parts` out of `count` equal ones.
        """

    def compile_step(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        loss: keras.losses.Loss,
        clip_norm: float,
    ) -> Callable:
        """A training step on all devices.

        Args:
            model: The model to train, by the sum of the losses of all its outputs.
            optimizer: Built on the trainable weights.
            loss: A mean over the labelled joints, those with `targets[..., 2]` = 1.
            clip_norm: Limit for the global norm of the gradient; 0 means none.

        Returns:
            A function of the images and targets of a batch that returns the loss of the last
            output.
        """

    def wait(self) -> None:
        """Waits for all processes: one that ends before the others counts as failed."""


def make_workers(name: str = "none") -> Workers:
    """The devices to train on, with the current Keras backend.

    Args:
        name: One of `STRATEGIES`. `"multiworker"` waits for the other processes, and must be called
            before any other operation of the backend.

    Raises:
        ValueError: There is no such strategy, `TF_CONFIG` is missing, or the backend is not
            supported.
    """
    if name not in STRATEGIES:
        raise ValueError(f"`strategy` must be one of {STRATEGIES}, got {name!r}.")
    backend = keras.backend.backend()
    if backend not in BACKENDS:
        raise ValueError(
            f"The examples train on the Keras backends {' and '.join(BACKENDS)}; KERAS_BACKEND is "
            f"{backend!r}."
        )
    module = importlib.import_module(f"{__name__}.{backend}")
    return module.Workers(name)


def cluster() -> tuple[list[str], int]:
    """The addresses of all processes, the chief first if there is one, and this process's index.

    Raises:
        ValueError: `TF_CONFIG` is missing.
    """
    if "TF_CONFIG" not in os.environ:
        raise ValueError(
            "--strategy multiworker needs the environment variable TF_CONFIG, which says "
            "where the workers are and which of them this is; "
            "`python -m examples.pose.launch` sets it for workers on one machine."
        )
    configuration = json.loads(os.environ["TF_CONFIG"])
    jobs, task = configuration["cluster"], configuration["task"]
    chiefs = jobs.get("chief", [])
    before = 0 if task["type"] == "chief" else len(chiefs)
    return [*chiefs, *jobs.get("worker", [])], before + task["index"]
