"""Where a training runs: one device, several of a process, or several processes.

    --strategy none         this process, on one device
    --strategy mirrored     this process, on all its GPUs (or CPUs, where there is none)
    --strategy multiworker  several processes that the environment variable TF_CONFIG describes, the
                            same command in each; `examples.pose.launch` starts them on one machine

All make the same steps: a batch is what it is for one device, cut into equal parts.

Training runs on two of Keras's backends, each of which has a module here: TensorFlow distributes by
`tf.distribute`, JAX by `keras.distribution`.
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
    """The devices of a training, and which of them are this process's.

    Attributes:
        replicas: How many there are, in all processes.
        is_chief: Whether this process is the one that writes files and prints.
    """

    replicas: int
    is_chief: bool

    def scope(self) -> contextlib.AbstractContextManager:
        """A context in which variables are created and assigned on all devices."""

    def distribute(self, make_batches: Callable[[range, int], tf.data.Dataset]) -> Iterable:
        """The batches, each cut among the devices.

        Args:
            make_batches: `make_batches(parts, count)` makes, for every batch and in this order,
                the parts of these numbers out of `count` equal ones.
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
            model: What to train; all its outputs are, by the sum of their losses.
            optimizer: Built on the trainable weights.
            loss: A mean over what is labelled, `targets[..., 2]`.
            clip_norm: The largest norm of the gradient of all weights together; 0: any.

        Returns:
            What to call with the images and the targets of a batch; it returns the loss of the last
            output.
        """

    def wait(self) -> None:
        """Returns when all processes have called it: one that has gone is one that has failed."""


def make_workers(name: str = "none") -> Workers:
    """The devices to train on, of the backend that Keras runs on.

    Args:
        name: One of `STRATEGIES`. `"multiworker"` waits for the other processes, and must come
            before anything else that the backend does.

    Raises:
        ValueError: There is no such strategy, `TF_CONFIG` is missing, or nothing is trained on
            this backend here.
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
    """The addresses of all processes, the chief first if there is one, and which this one is.

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
