"""Heatmaps, the output of a pose network: targets, loss, and decoding to joints.

For images `[N, S, S, 3]` a network returns logits `[N, S/2, S/2, J]`. The softmax over the cells of
one map is the probability that the joint is in each cell. Cell `(i, j)` is centred on the image
point `(x, y) = (2*j + 0.5, 2*i + 0.5)`; (0, 0) is the centre of the top left pixel.

The loss runs on every Keras backend. Everything else uses portable TensorFlow ops and works in
graphs and in SavedModels; logits of other backends are passed in as NumPy arrays.
"""

import math
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from examples.pose.models import DECODINGS

STRIDE = 2  # Image pixels per heatmap cell.
SCORE_RADIUS = 4  # A joint's score is the probability within this many cells of its peak.
SIGMA = 1.5  # Default standard deviation of the targets, in cells.
DARK_SIGMA = SIGMA  # Standard deviation of the smoothing in the decoding "dark", in cells.
DARK_BORDER = 2  # "dark" does not smooth within this many cells of the border.


def to_cells(pixels):
    """Maps image pixel coordinates to heatmap cell coordinates."""
    return (pixels - (STRIDE - 1) / 2) / STRIDE


def to_pixels(cells):
    """Maps heatmap cell coordinates to image pixel coordinates."""
    return cells * STRIDE + (STRIDE - 1) / 2


def gaussian(centres, length, sigma: float):
    """A sampled Gaussian along one axis that sums to one.

    Args:
        centres: Positions of the peaks in cells, a float tensor of any shape.
        length: Number of cells.
        sigma: Standard deviation in cells.

    Returns:
        Tensor of shape `centres.shape + [length]` and the dtype of `centres`.
    """
    cells = ops.cast(ops.arange(length, dtype="int32"), centres.dtype)
    return ops.softmax(-ops.square(cells - centres[..., None]) / (2 * sigma**2), axis=-1)


def gaussian_heatmaps(
    joints: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor, sigma: float = SIGMA
) -> tf.Tensor:
    """The target heatmaps of joints, as probabilities.

    Args:
        joints: `[N, J, 3]`: x and y in image pixels, and a weight that scales the map: 1 for a
            joint to learn, 0 for a joint to ignore.
        height: Rows of the maps.
        width: Columns of the maps.
        sigma: Standard deviation in cells.

    Returns:
        `[N, height, width, J]`; each map sums to its joint's weight.
    """
    x = gaussian(to_cells(joints[..., 0]), width, sigma)
    y = gaussian(to_cells(joints[..., 1]), height, sigma)
    return tf.einsum("njh,njw,nj->nhwj", y, x, joints[..., 2])


@keras.saving.register_keras_serializable(package="pose")
class HeatmapCrossEntropy(keras.losses.Loss):
    """Cross-entropy between Gaussian heatmaps and the softmax over each map's cells.

    The softmax makes the cells of a map compete. With a mean squared error, training can stay at
    the all-zero solution for long. The loss is the mean over the joints of weight 1.

    Call arguments:
        y_true: `[N, J, 3]`: x and y in image pixels, and the joint's weight, 0 or 1.
        y_pred: Heatmap logits `[N, H, W, J]`.

    Args:
        sigma: Standard deviation of the targets, in cells.
    """

    def __init__(self, sigma: float = SIGMA, name: str = "heatmap_cross_entropy", **kwargs):
        kwargs.setdefault("reduction", "sum")
        super().__init__(name=name, **kwargs)
        self.sigma = sigma

    def call(self, y_true, y_pred):
        """Computes the loss of a batch."""
        _, height, width, _ = ops.shape(y_pred)
        weights = y_true[..., 2]
        x = gaussian(to_cells(y_true[..., 0]), width, self.sigma)
        y = gaussian(to_cells(y_true[..., 1]), height, self.sigma)
        # The target maps are separable, so they need not be materialised.
        rows = ops.einsum("njh,nhjw->njw", y, ops.transpose(y_pred, (0, 1, 3, 2)))
        expected = ops.sum(rows * x, axis=-1)
        losses = ops.logsumexp(y_pred, axis=(1, 2)) - expected
        counted = ops.maximum(ops.sum(weights), 1.0)
        return ops.sum(losses * weights) / counted

    def get_config(self):
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "sigma": self.sigma}


def decode(logits: tf.Tensor, decoding: str = "quarter") -> tuple[tf.Tensor, tf.Tensor]:
    """Reads joints from heatmaps.

    Args:
        logits: `[N, H, W, J]`.
        decoding: How to refine the position of a peak to less than a cell. `"peak"`: no refinement.
            `"quarter"`: a quarter cell towards the larger neighbour, along each axis. `"dark"`: the
            top of a Gaussian fitted to the probabilities around the peak (Zhang et al.,
            Distribution-Aware Coordinate Representation for Human Pose Estimation, CVPR 2020).

    Returns:
        joints: float32 `[N, J, 2]`, the peaks' (x, y) in pixels of the network's input image.
        scores: float32 `[N, J]`, the probability within `SCORE_RADIUS` cells of the peak, from 0 to
            1. It is 0 only for maps that contain NaN or infinity and so define no probability.

    Raises:
        ValueError: There is no such decoding.
    """
    if decoding not in DECODINGS:
        raise ValueError(f"`decoding` must be one of {DECODINGS}, got {decoding!r}.")
    logits = tf.cast(logits, tf.float32)
    has_nan = tf.reduce_any(tf.math.is_nan(logits), axis=(1, 2))
    logits = tf.where(tf.math.is_nan(logits), -np.inf, logits)
    shape = tf.shape(logits)
    height, width = shape[1], shape[2]
    maps = tf.transpose(logits, (0, 3, 1, 2))
    flat = tf.reshape(maps, (shape[0], shape[3], height * width))
    peak = tf.argmax(flat, axis=-1, output_type=tf.int32)
    row, column = peak // width, peak % width
    log_probability = tf.reshape(tf.nn.log_softmax(flat), tf.shape(maps))
    probability = tf.exp(log_probability)

    cells = tf.cast(tf.stack((column, row), axis=-1), tf.float32)
    if decoding == "quarter":
        cells += _quarter_offset(maps, row, column)
    elif decoding == "dark":
        cells += _dark_offset(log_probability, row, column)

    near_row = tf.abs(tf.range(height) - row[..., None]) <= SCORE_RADIUS
    near_column = tf.abs(tf.range(width) - column[..., None]) <= SCORE_RADIUS
    near = near_row[..., :, None] & near_column[..., None, :]
    scores = tf.reduce_sum(tf.where(near, probability, 0.0), axis=(2, 3))
    defined = tf.math.is_finite(scores) & ~has_nan
    return to_pixels(cells), tf.where(defined, tf.minimum(scores, 1.0), 0.0)


def _neighbour(maps: tf.Tensor, row: tf.Tensor, column: tf.Tensor, dy: int, dx: int) -> tf.Tensor:
    """Values `[N, J]` of maps `[N, J, H, W]` at (row + dy, column + dx), clamped to the map."""
    shape = tf.shape(maps)
    height, width = shape[2], shape[3]
    i, j = tf.clip_by_value(row + dy, 0, height - 1), tf.clip_by_value(column + dx, 0, width - 1)
    flat = tf.reshape(maps, (shape[0], shape[1], height * width))
    return tf.gather(flat, i * width + j, axis=2, batch_dims=2)  # tf2onnx does not know axis=-1


def _quarter_offset(maps: tf.Tensor, row: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
    """An offset (x, y), `[N, J, 2]`, of a quarter cell towards the larger neighbour on each axis.

    Zero along an axis on which the peak is at the border and has only one neighbour.
    """

    def sign(dy, dx):
        # Comparisons, because the difference of two infinities is NaN.
        ahead = _neighbour(maps, row, column, dy, dx)
        behind = _neighbour(maps, row, column, -dy, -dx)
        return tf.cast(ahead > behind, tf.float32) - tf.cast(behind > ahead, tf.float32)

    signs = tf.stack((sign(0, 1), sign(1, 0)), axis=-1)
    has_both = tf.stack(_has_both_neighbours(maps, row, column), axis=-1)
    return tf.where(has_both, signs / 4, 0.0)


def _has_both_neighbours(
    maps: tf.Tensor, row: tf.Tensor, column: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Whether a cell has cells left and right of it, and above and below; bool `[N, J]` each."""
    shape = tf.shape(maps)
    return (column > 0) & (column < shape[3] - 1), (row > 0) & (row < shape[2] - 1)


def _dark_offset(log_probability: tf.Tensor, row: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
    """One Newton step (x, y), `[N, J, 2]`, from the peak to the top of the smoothed log heatmap.

    The logarithm of a Gaussian is a paraboloid, so one step finds its top exactly. Smoothing by a
    Gaussian as wide as the targets keeps a Gaussian heatmap Gaussian, and removes small spurious
    peaks. Maps whose peak is within `DARK_BORDER` cells of the border are not smoothed: the zeros
    beyond the border would push the top inwards, by up to a cell. The step is zero along an axis on
    which the peak is at the border, and where the map is not concave.
    """
    smooth = tf.math.log(tf.maximum(_blur(tf.exp(log_probability), DARK_SIGMA), 1e-30))
    shape = tf.shape(log_probability)
    to_border = tf.minimum(
        tf.minimum(row, shape[2] - 1 - row), tf.minimum(column, shape[3] - 1 - column)
    )

    def value(dy, dx):
        raw, smoothed = (
            _neighbour(maps, row, column, dy, dx) for maps in (log_probability, smooth)
        )
        return tf.where(to_border <= DARK_BORDER, raw, smoothed)

    has_x, has_y = _has_both_neighbours(log_probability, row, column)
    here = value(0, 0)
    dx = tf.where(has_x, (value(0, 1) - value(0, -1)) / 2, 0.0)
    dy = tf.where(has_y, (value(1, 0) - value(-1, 0)) / 2, 0.0)
    # If x has no two neighbours, dx = dxy = 0 and dxx = -1. Then the step is of a parabola in y,
    # and the other way round.
    dxx = tf.where(has_x, value(0, 1) - 2 * here + value(0, -1), -1.0)
    dyy = tf.where(has_y, value(1, 0) - 2 * here + value(-1, 0), -1.0)
    dxy = (value(1, 1) - value(1, -1) - value(-1, 1) + value(-1, -1)) / 4
    dxy = tf.where(has_x & has_y, dxy, 0.0)
    determinant = dxx * dyy - dxy * dxy
    concave = (dxx < 0) & (determinant > 0) & tf.math.is_finite(dx + dy + determinant)
    determinant = tf.where(concave, determinant, 1.0)
    step = tf.stack((dxy * dy - dyy * dx, dxy * dx - dxx * dy), axis=-1) / determinant[..., None]
    # Near a flat top the step may be long, but the top lies within the cells used here.
    return tf.where(concave[..., None], tf.clip_by_value(step, -1.0, 1.0), 0.0)


def _blur(maps: tf.Tensor, sigma: float) -> tf.Tensor:
    """Convolves maps `[N, J, H, W]` with a Gaussian. Maps are zero beyond their border."""
    radius = math.ceil(3 * sigma)
    kernel = gaussian(tf.constant(float(radius)), 2 * radius + 1, sigma)
    shape = tf.shape(maps)
    planes = tf.reshape(maps, (shape[0] * shape[1], shape[2], shape[3], 1))
    for axes in ((-1, 1, 1, 1), (1, -1, 1, 1)):
        planes = tf.nn.conv2d(planes, tf.reshape(kernel, axes), strides=1, padding="SAME")
    return tf.reshape(planes, shape)


def flip_heatmaps(logits: tf.Tensor, flip_order: Sequence[int]) -> tf.Tensor:
    """Converts the heatmaps of a mirrored image to those of the original image.

    Args:
        logits: `[N, H, W, J]`.
        flip_order: `Skeleton.flip_order`, for each joint the index of its mirror image.
    """
    return tf.gather(logits[:, :, ::-1], flip_order, axis=-1)


def predict_heatmaps(
    predict: Callable, images: tf.Tensor, flip_order: Sequence[int] | None = None
) -> tf.Tensor:
    """Runs a pose network, with a flip test if `flip_order` is given.

    A flip test averages the heatmaps of each image and of its mirror image.

    Args:
        predict: Maps images to heatmap logits, see `examples.pose.inference`.
        images: `[N, S, S, 3]`, values 0 to 255.
        flip_order: `Skeleton.flip_order`, or None for no flip test.

    Returns:
        Heatmap logits `[N, S/2, S/2, J]`.
    """
    logits = predict(images)
    if flip_order is None:
        return logits
    mirrored = predict(images[:, :, ::-1])
    return (logits + flip_heatmaps(mirrored, flip_order)) / 2
