"""Batches for training and for evaluation.

A training batch depends only on the seed and the step number. A resumed run therefore sees the
same batches as an uninterrupted one.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from examples.pose.datasets.in_memory import Photographs
from examples.pose.training.augmentation import (
    colour_draws,
    jitter_colours,
    random_affines,
    warp_images,
    warp_targets,
)

# Photographs in memory are larger than the network's input by this factor. Augmentation resamples
# them, which would blur them if they were not.
CANVAS_SCALE = 1.25


def part_size(batch_size: int, num_parts: int) -> int:
    """The number of images in each of `num_parts` equal parts of a batch.

    Raises:
        ValueError: `batch_size` is no multiple of `num_parts`.
    """
    if batch_size % num_parts:
        raise ValueError(
            f"`batch_size` must be a multiple of the number of replicas, {num_parts}, got "
            f"{batch_size}."
        )
    return batch_size // num_parts


def training_batches(
    photographs: Photographs,
    flip_order: Sequence[int],
    image_size: int,
    batch_size: int,
    steps: range,
    seed: int,
    parts: range = range(1),
    num_parts: int = 1,
    augmentation: float = 1.0,
) -> tf.data.Dataset:
    """Augmented training batches. Each depends only on `seed` and its step number.

    Every pass over the photographs has a new random order.

    Args:
        photographs: The photographs to train on.
        flip_order: `Skeleton.flip_order`.
        image_size: Side of the images in the batches, in pixels.
        batch_size: Images in a batch.
        steps: Step numbers to make batches for.
        seed: Determines order and augmentation.
        parts: Which parts of every batch to make, in this order. Concatenating all parts gives the
            same batch for every `num_parts`.
        num_parts: Number of equal parts that each batch is divided into.
        augmentation: Strength of the augmentation, see `augmentation.random_affines`.

    Returns:
        A dataset with one element for each step and part: images, float32
        `[n, image_size, image_size, 3]`, and targets, float32 `[n, J, 3]` (x, y, weight), with
        `n = batch_size / num_parts`.

    Raises:
        ValueError: `batch_size` is no multiple of `num_parts`.
    """
    images_per_part = part_size(batch_size, num_parts)
    targets = tf.constant(photographs.targets)
    count = tf.constant(len(photographs), tf.int64)
    run_seed = tf.constant(seed, tf.int64)

    def make_batch(step, part):
        in_batch = part * images_per_part + tf.range(images_per_part, dtype=tf.int64)
        in_run = step * batch_size + in_batch
        passes = in_run // count
        order_seed = tf.stack([tf.fill(passes.shape, run_seed), passes, passes], axis=-1)
        # Each pass has its own seed, and a batch may span two passes. The public function,
        # tf.random.experimental.index_shuffle, takes only one seed.
        index = tf.raw_ops.RandomIndexShuffle(
            index=in_run % count, seed=order_seed, max_index=count - 1, rounds=4
        )
        geometry_seed = tf.stack([run_seed, 2 * step])
        colour_seed = tf.stack([run_seed, 2 * step + 1])
        # Random numbers are drawn for the whole batch, so that they do not depend on how the batch
        # is divided.
        affines = random_affines(
            batch_size, geometry_seed, photographs.size, image_size, augmentation
        )
        affines = tf.gather(affines, in_batch)
        colours = tf.gather(colour_draws(batch_size, colour_seed, augmentation), in_batch)
        batch = warp_images(_take(photographs.images, index), affines, image_size)
        return (
            jitter_colours(batch, colours),
            warp_targets(tf.gather(targets, index), affines, image_size, flip_order),
        )

    numbers = tf.data.Dataset.range(steps.start, steps.stop, steps.step).flat_map(
        lambda step: tf.data.Dataset.range(parts.start, parts.stop).map(lambda part: (step, part))
    )
    return numbers.map(make_batch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def _take(array: np.ndarray, index: tf.Tensor) -> tf.Tensor:
    """Returns rows `index` of a NumPy array without a copy of the array in the graph."""
    rows = tf.numpy_function(lambda i: array[i], [index], array.dtype, stateful=False)
    return tf.ensure_shape(rows, (*index.shape, *array.shape[1:]))


def plain_batches(photographs: Photographs, batch_size: int) -> tf.data.Dataset:
    """Batches of images and targets as in `training_batches`, in order, not augmented."""
    arrays = (photographs.images, photographs.targets)
    batches = tf.data.Dataset.from_tensor_slices(arrays).batch(batch_size)
    return batches.map(lambda images, targets: (tf.cast(images, tf.float32), targets))
