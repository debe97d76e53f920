"""Runs a command of `examples.pose` on a few drawn figures instead of a prepared data set.

    python -m tests.examples.pose.drawn_figures train --run DIR ...

Tests start this in a process that they can kill. Only `datasets.load` is replaced. The environment
variable `TF_BOXCONV_TEST_DEVICES` is the number of devices to split the CPU into.
"""

import importlib
import os
import sys

import keras
import numpy as np
import tensorflow as tf

from examples.pose import datasets
from examples.pose.cli import command_line
from examples.pose.datasets import skeletons
from examples.pose.datasets.stick_figures.figure import draw_figure

COUNTS = {"train": 24, "test": 8}


def load(name, split, data_dir=None, prepared_dir=None, skip_broken=False, keypoint_files=None):
    """Replaces `datasets.load`. Returns drawn figures, whatever the name of the data set."""
    figures = [draw_figure(0, split, index, size=48) for index in range(COUNTS[split])]
    examples = {
        "image": np.stack([figure.image for figure in figures]),
        "joints": np.stack([figure.joints for figure in figures]),
        "visibility": np.stack([figure.visibility for figure in figures]),
    }
    return tf.data.Dataset.from_tensor_slices(examples), skeletons.LSP_SKELETON


def split_cpu(devices: int) -> None:
    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_num_cpu_devices", devices)
        return
    cpu = tf.config.list_physical_devices("CPU")[0]
    parts = [tf.config.LogicalDeviceConfiguration()] * devices
    tf.config.set_logical_device_configuration(cpu, parts)


def main(arguments: list[str]) -> int:
    tf.config.experimental.enable_op_determinism()
    split_cpu(int(os.environ.get("TF_BOXCONV_TEST_DEVICES", "1")))
    datasets.load = load
    module = importlib.import_module(f"examples.pose.{arguments[0]}")
    return command_line.run(lambda: module.main(arguments[1:]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
