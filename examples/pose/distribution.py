"""Where a training runs: one process, several devices, or several processes.

    --strategy none         this process, on its one device
    --strategy mirrored     this process, on all its GPUs (or CPUs, where there is none)
    --strategy multiworker  several processes that the environment variable TF_CONFIG describes, the
                            same command in each; `examples.pose.launch` starts them on one machine

All make the same steps: a batch is what it is for one process, cut into equal parts.
"""

import os
from collections.abc import Callable

import tensorflow as tf

STRATEGIES = ("none", "mirrored", "multiworker")


class Workers:
    """The replicas of a training, and which of them are this process's.

    Attributes:
        strategy: Creates variables on the replicas and runs steps on them.
        replicas: How many there are, in all processes.
        is_chief: Whether this process is the one that writes files and prints.

    Args:
        name: One of `STRATEGIES`. `"multiworker"` waits for the other processes, and must come
            before anything else that TensorFlow does.

    Raises:
        ValueError: There is no such strategy, or `TF_CONFIG` is missing.
    """

    def __init__(self, name: str = "none"):
        if name not in STRATEGIES:
            raise ValueError(f"`strategy` must be one of {STRATEGIES}, got {name!r}.")
        self.is_chief = True
        if name == "none":
            self.strategy = tf.distribute.get_strategy()
        elif name == "mirrored":
            kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
            devices = [device.name for device in tf.config.list_logical_devices(kind)]
            self.strategy = tf.distribute.MirroredStrategy(devices)
        else:
            if "TF_CONFIG" not in os.environ:
                raise ValueError(
                    "--strategy multiworker needs the environment variable TF_CONFIG, which says "
                    "where the workers are and which of them this is; "
                    "`python -m examples.pose.launch` sets it for workers on one machine."
                )
            self.strategy = tf.distribute.MultiWorkerMirroredStrategy()
            resolver = self.strategy.cluster_resolver
            self.is_chief = resolver.task_type in ("chief", None) or (
                "chief" not in resolver.cluster_spec().jobs and resolver.task_id == 0
            )
        self.replicas = self.strategy.num_replicas_in_sync

    def distribute(self, make_batches: Callable[[range, int], tf.data.Dataset]):
        """A dataset that gives each replica its part of every batch.

        Args:
            make_batches: `make_batches(parts, count)` makes, for every batch and in this order,
                the parts of these numbers out of `count` equal ones.
        """

        def make(context):
            local = self.replicas // context.num_input_pipelines
            first = context.input_pipeline_id * local
            return make_batches(range(first, first + local), self.replicas)

        return self.strategy.distribute_datasets_from_function(make)

    def wait(self) -> None:
        """Returns when all workers have called it: one that has gone is one that has failed."""
        if self.replicas > 1:
            here = self.strategy.run(lambda: tf.constant(1.0))
            self.strategy.reduce(tf.distribute.ReduceOp.SUM, here, axis=None)
