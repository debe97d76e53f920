"""Measures the cost of a network: parameters, multiply-adds and time."""

import statistics
import time
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import rich.console
import rich.table
import tensorflow as tf

from examples.pose.evaluation import multiply_adds
from examples.pose.inference import backends

TIMED_BATCH_SIZES = (1, 16)
TIMED_SECONDS = 4.0


def seconds_per_image(model: keras.Model, image_size: int, batch_size: int) -> float:
    """The median time in seconds for a batch of random images, divided by the batch size.

    Decoding and the flip test are not included.
    """
    images = tf.random.stateless_uniform((batch_size, image_size, image_size, 3), (0, 0), 0, 255)
    run = backends.compiled(model)
    for _ in range(3):
        run(images)
    times = []
    end = time.perf_counter() + TIMED_SECONDS
    while len(times) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        np.asarray(run(images))
        times.append(time.perf_counter() - start)
    return statistics.median(times) / batch_size


def evaluate_cost(model: keras.Model, image_size: int) -> dict[str, Any]:
    """Returns parameters, multiply-adds for one image, and seconds per image, by batch size."""
    return {
        "parameters": model.count_params(),
        "multiply_adds": multiply_adds.multiply_adds(model),
        "seconds_per_image": {
            f"batch_{size}": round(seconds_per_image(model, image_size, size), 6)
            for size in TIMED_BATCH_SIZES
        },
    }


def print_cost(cost: Mapping[str, Any]) -> None:
    """Prints the result of `evaluate_cost` as a table."""
    table = rich.table.Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("parameters", f"{cost['parameters']:,}")
    table.add_row("multiply-adds per image", f"{cost['multiply_adds']:,}")
    for name, seconds in cost["seconds_per_image"].items():
        table.add_row(f"milliseconds per image, {name.replace('_', ' ')}", f"{seconds * 1e3:.2f}")
    rich.console.Console().print(table)
