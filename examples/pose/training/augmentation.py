"""Random augmentation: rotate, scale, shift and mirror images, and vary their colours.

`images.geometry` defines the coordinates of points and the affines.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from examples.pose.images.geometry import GREY, invert_affine, transform_points

# Limits of the random variation. Each draw is symmetric about no change.
ROTATION = 35.0  # Degrees.
SCALE = 1.35  # Factor: images become up to 1.35 times larger or smaller.
SHIFT = 0.08  # Fraction of the image's side.
GAIN = 0.3  # Contrast of each colour channel is multiplied or divided by up to 1 + GAIN.
BRIGHTNESS = 25.0  # Added to or subtracted from values of 0 to 255.


def random_affines(
    count: int, seed: tf.Tensor, from_size: int, to_size: int, strength: float = 1.0
) -> tf.Tensor:
    """Draws affines that map square images to another size, with random variation.

    Each affine mirrors with probability 1/2, rotates, scales and shifts.

    Args:
        count: Number of affines.
        seed: Integers `[2]`, the seed of `tf.random.stateless_uniform`.
        from_size: Side of the images before mapping, in pixels.
        to_size: Side of the images after mapping, in pixels.
        strength: Factor for the limits of rotation, scale (its logarithm) and shift. With 0, images
            are only mirrored.

    Returns:
        float32 `[count, 2, 3]`. An affine that mirrors has a negative determinant.
    """
    draws = tf.random.stateless_uniform((5, count), seed, -1.0, 1.0)
    mirror = tf.where(draws[0] < 0, -1.0, 1.0)
    draws *= strength
    angle = draws[1] * (ROTATION * np.pi / 180)
    scale = SCALE ** draws[2] * (to_size / from_size)
    shift = draws[3:] * (SHIFT * to_size)
    cosine, sine = scale * tf.cos(angle), scale * tf.sin(angle)
    linear = tf.stack(
        [tf.stack([cosine * mirror, -sine], -1), tf.stack([sine * mirror, cosine], -1)], axis=1
    )
    # The centre of a square of n pixels is at (n - 1) / 2.
    centre = tf.reduce_sum(linear, axis=-1) * ((from_size - 1) / 2)
    offset = (to_size - 1) / 2 + tf.transpose(shift) - centre
    return tf.concat([linear, offset[..., None]], axis=-1)


def warp_images(images: tf.Tensor, affines: tf.Tensor, size: int) -> tf.Tensor:
    """Applies affines to images by bilinear interpolation. Pixels outside an image are grey.

    Args:
        images: `[N, H, W, 3]`.
        affines: `[N, 2, 3]`, from pixels of `images` to pixels of the result.
        size: Side of the result in pixels.

    Returns:
        float32 `[N, size, size, 3]`.
    """
    # The operation takes the inverse maps, from pixels of the result to pixels of the image.
    inverse = tf.reshape(invert_affine(affines), (-1, 6))
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32),
        transforms=tf.pad(inverse, [[0, 0], [0, 2]]),
        output_shape=(size, size),
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
        fill_value=GREY,
    )


def warp_targets(
    targets: tf.Tensor, affines: tf.Tensor, size: int, flip_order: Sequence[int]
) -> tf.Tensor:
    """Applies affines to joints. Joints that leave the image get weight 0.

    Args:
        targets: float32 `[N, J, 3]`: x, y, weight.
        affines: float32 `[N, 2, 3]`. An affine that mirrors also swaps left and right joints.
        size: Side of the resulting image in pixels.
        flip_order: `Skeleton.flip_order`.

    Returns:
        float32 `[N, J, 3]`, like `targets`.
    """
    mirrored = tf.linalg.det(affines[..., :2]) < 0
    targets = tf.where(mirrored[:, None, None], tf.gather(targets, flip_order, axis=1), targets)
    joints = transform_points(affines, targets[..., :2])
    inside = tf.reduce_all((joints > -0.5) & (joints < size - 0.5), axis=-1)
    weights = targets[..., 2] * tf.cast(inside, tf.float32)
    return tf.concat([joints, weights[..., None]], axis=-1)


def colour_draws(count: int, seed: tf.Tensor, strength: float = 1.0) -> tf.Tensor:
    """Draws numbers for `jitter_colours`: float32 `[count, 2, 1, 1, 3]`, -strength to strength."""
    return tf.random.stateless_uniform((count, 2, 1, 1, 3), seed, -strength, strength)


def jitter_colours(images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Varies brightness, contrast and tint of images.

    Three quarters of the contrast and brightness of a channel are common to all channels; the rest
    tints the image.

    Args:
        images: float32 `[N, H, W, 3]`, values 0 to 255.
        draws: `[N, 2, 1, 1, 3]` from `colour_draws`.

    Returns:
        float32 `[N, H, W, 3]`, clipped to 0 to 255.
    """
    common, by_channel = tf.unstack(draws, axis=1)
    gain = (1 + GAIN) ** (0.75 * common[..., :1] + 0.25 * by_channel)
    brightness = BRIGHTNESS * (0.75 * common[..., 1:2] + 0.25 * common[..., 2:])
    return tf.clip_by_value((images - GREY) * gain + GREY + brightness, 0.0, 255.0)
