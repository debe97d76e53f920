"""Batches for training and for measuring.

A training batch depends on the seed and the step number alone, so that a resumed run sees the same
batches as an uninterrupted one.
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

# Photographs are held larger than the network's images by this factor, so that resampling in the
# augmentation does not blur them.
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
) -> tf.data.Dataset:
    """Augmented training batches, each determined by `seed` and its step number alone.

    The photographs come in a new random order in every pass over them.

    Args:
        photographs: What to train on.
        flip_order: `Skeleton.flip_order`.
        image_size: Side of the images in the batches.
        batch_size: Images in a batch.
        steps: The numbers of the steps to make batches for.
        seed: Determines order and augmentation.
        parts: Which parts of every batch to make, one after the other. All parts of a batch
            together are the batch, whatever their number.
        num_parts: The number of equal parts that a batch is divided into.

    Returns:
        For each step and each part (images float32 `[n, image_size, image_size, 3]`, targets
        float32 `[n, J, 3]`: x, y, weight), with n = `batch_size / num_parts`.

    Raises:
        ValueError: `batch_size` is no multiple of `num_parts`.
    """
    images_per_part = part_size(batch_size, num_parts)
    targets = tf.constant(photographs.targets)
    count = tf.constant(len(photographs), tf.int64)
    run_seed = tf.constant(seed, tf.int64)

    def make_batch(step, part):
        mine = part * images_per_part + tf.range(images_per_part, dtype=tf.int64)
        number = step * batch_size + mine
        passes = number // count
        order_seed = tf.stack([tf.fill(passes.shape, run_seed), passes, passes], axis=-1)
        # tf.random.experimental.index_shuffle takes one seed only, and a batch may span two passes.
        index = tf.raw_ops.RandomIndexShuffle(
            index=number % count, seed=order_seed, max_index=count - 1, rounds=4
        )
        geometry_seed = tf.stack([run_seed, 2 * step])
        colour_seed = tf.stack([run_seed, 2 * step + 1])
        # Drawn for the whole batch, so that the result does not depend on the number of parts.
        affines = random_affines(batch_size, geometry_seed, photographs.size, image_size)
        affines = tf.gather(affines, mine)
        colours = tf.gather(colour_draws(batch_size, colour_seed), mine)
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
    """Rows of a NumPy array. A `tf.constant` of it would copy the array."""
    rows = tf.numpy_function(lambda i: array[i], [index], array.dtype, stateful=False)
    return tf.ensure_shape(rows, (*index.shape, *array.shape[1:]))


def plain_batches(photographs: Photographs, batch_size: int) -> tf.data.Dataset:
    """The photographs in order and without augmentation, as batches like `training_batches`."""
    arrays = (photographs.images, photographs.targets)
    batches = tf.data.Dataset.from_tensor_slices(arrays).batch(batch_size)
    return batches.map(lambda images, targets: (tf.cast(images, tf.float32), targets))
