"""Training on one device, on several devices of one process, or in several processes.

    --strategy none         this process, on one device
    --strategy mirrored     this process, on all its GPUs (or CPUs if it has no GPU)
    --strategy multiworker  several processes, listed in the environment variable TF_CONFIG, that
                            run the same command; `examples.pose.launch` starts them on one machine

All strategies make the same steps: each batch is divided into equal parts, one for each device.

Training runs on two Keras backends, and each has a module here. TensorFlow distributes by
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
    """The devices that a training runs on, in all of its processes.

    Attributes:
        replicas: Number of devices in all processes together.
        is_chief: Whether this process is the one that writes files and prints.
    """

    replicas: int
    is_chief: bool

    def scope(self) -> contextlib.AbstractContextManager:
        """A context in which variables are created and assigned on all devices."""

    def distribute(self, make_batches: Callable[[range, int], tf.data.Dataset]) -> Iterable:
        """The batches, each divided among the devices.

        Args:
            make_batches: `make_batches(parts, count)` divides every batch into `count` equal parts
                and makes the parts numbered `parts`, in this order.
        """

    def compile_step(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        loss: keras.losses.Loss,
        clip_norm: float,
    ) -> Callable:
        """Makes a function that runs a training step on all devices.

        Args:
            model: The network. Its outputs are trained together, by the sum of their losses.
            optimizer: An optimizer built on the trainable weights.
            loss: A mean over the labelled joints, those with `targets[..., 2]` of 1.
            clip_norm: Gradients are scaled down if their global norm exceeds it; 0 does not clip.

        Returns:
            A function of a batch's images and targets that returns the loss of the last output.
        """

    def wait(self) -> None:
        """Waits until all processes have called this, so that none exits while others run.

        A process that exits early looks to the others like one that failed.
        """


def make_workers(name: str = "none") -> Workers:
    """Returns the devices to train on, for the current Keras backend.

    Args:
        name: One of `STRATEGIES`. `"multiworker"` waits for the other processes, and must come
            before any other use of the backend.

    Raises:
        ValueError: There is no such strategy, `TF_CONFIG` is missing, or the examples do not train
            on this backend. `STRATEGIES` and `BACKENDS` list the choices.
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
    """Reads `TF_CONFIG`.

    Returns:
        The addresses of all processes, the chief first if there is one, and the index of this
        process among them.

    Raises:
        ValueError: `TF_CONFIG` is missing or invalid.
    """
    if "TF_CONFIG" not in os.environ:
        raise ValueError(
            "--strategy multiworker needs the environment variable TF_CONFIG, which gives "
            "the addresses of the workers and the index of this one. "
            "`python -m examples.pose.launch` sets it for workers on one machine."
        )
    try:
        configuration = json.loads(os.environ["TF_CONFIG"])
        jobs, task = configuration["cluster"], configuration["task"]
        chiefs, workers = jobs.get("chief", []), jobs.get("worker", [])
        addresses = [*chiefs, *workers]
        index = {"chief": 0, "worker": len(chiefs)}[task["type"]] + task["index"]
        return addresses, range(len(addresses))[index]
    except (ValueError, LookupError, TypeError, AttributeError):
        raise ValueError(
            'The environment variable TF_CONFIG must be like {"cluster": {"worker": '
            '["host1:1234", "host2:1234"]}, "task": {"type": "worker", "index": 0}}, got '
            f"{os.environ['TF_CONFIG']!r}."
        ) from None
