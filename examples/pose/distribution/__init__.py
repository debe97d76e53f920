"""Where a training runs: one device, several of a process, or several processes.

    --strategy none         this process, on one device
    --strategy mirrored     this process, on all its GPUs (or CPUs, where there is none)
    --strategy multiworker  several processes that the environment variable TF_CONFIG describes, the
                            same command in each; `examples.pose.launch` starts them on one machine

All make the same steps: a batch is what it is for one device, cut into equal parts.

Training runs on two of Keras's backends, each of which has a module here with a class `Workers`:
TensorFlow distributes by `tf.distribute`, JAX by `keras.distribution`. What they have in common:

* `replicas`: the number of devices, in all processes
* `is_chief`: whether this process is the one that writes files and prints
* `scope()`: a context in which variables are created and assigned on all devices
* `distribute(make_batches)`: an iterable over this process's parts of the batches
* `compile_step(model, optimizer, loss, clip_norm)`: a training step on all devices
* `wait()`: returns when all processes have called it
"""

import importlib
import json
import os
from typing import Any

import keras

STRATEGIES = ("none", "mirrored", "multiworker")
BACKENDS = ("tensorflow", "jax")


def make_workers(name: str = "none"):
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


def cluster_configuration() -> dict[str, Any]:
    """What `TF_CONFIG` says.

    Raises:
        ValueError: It is missing.
    """
    if "TF_CONFIG" not in os.environ:
        raise ValueError(
            "--strategy multiworker needs the environment variable TF_CONFIG, which says "
            "where the workers are and which of them this is; "
            "`python -m examples.pose.launch` sets it for workers on one machine."
        )
    return json.loads(os.environ["TF_CONFIG"])
