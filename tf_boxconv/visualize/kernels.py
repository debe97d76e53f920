"""Kernels of box layers, and sizes and offsets of their boxes, as NumPy arrays in pixels."""

from __future__ import annotations

import math

import numpy as np
from keras import ops

from tf_boxconv.layers.base_box_conv import BaseBoxConv2D
from tf_boxconv.ops.arguments import check_index
from tf_boxconv.visualize.mixing_weights import own_mixing_weights


def boxes_array(layer: BaseBoxConv2D) -> np.ndarray:
    """Returns the boxes of a built layer, float64 `[channels, depth_multiplier, 4]`, in pixels."""
    if not isinstance(layer, BaseBoxConv2D):
        raise TypeError(
            f"`layer` must be a box convolution layer. Received: {type(layer).__name__}"
        )
    return np.asarray(ops.convert_to_numpy(layer.boxes), np.float64)


def box_sizes(layer: BaseBoxConv2D) -> np.ndarray:
    """Returns the heights and widths of a layer's boxes.

    Args:
        layer: A built `DepthwiseBoxConv2D` or `BoxConv2D`.

    Returns:
        float64 array with shape `[channels, depth_multiplier, 2]`: `(height, width)` in pixels.

    Example:
    >>> layer = tf_boxconv.layers.DepthwiseBoxConv2D(max_size=48)
    >>> layer.build((None, 48, 48, 1))
    >>> layer.set_boxes([[[-2.5, -1.0, 3.5, 9.0]]])
    >>> tf_boxconv.visualize.box_sizes(layer).round(3).tolist()
    [[[6.0, 10.0]]]
    """
    boxes = boxes_array(layer)
    return boxes[..., 2:] - boxes[..., :2]


def box_offsets(layer: BaseBoxConv2D) -> np.ndarray:
    """Returns the centres of a layer's boxes, relative to the output pixel.

    Args:
        layer: A built `DepthwiseBoxConv2D` or `BoxConv2D`.

    Returns:
        float64 array with shape `[channels, depth_multiplier, 2]`: `(y, x)` in pixels. NaN along an
        axis where both edges are infinite.

    Example:
    >>> layer = tf_boxconv.layers.DepthwiseBoxConv2D(max_size=48)
    >>> layer.build((None, 48, 48, 1))
    >>> layer.set_boxes([[[-2.5, -1.0, 3.5, 9.0]]])
    >>> tf_boxconv.visualize.box_offsets(layer).round(3).tolist()
    [[[0.5, 4.0]]]
    """
    boxes = boxes_array(layer)
    with np.errstate(invalid="ignore"):  # inf - inf
        return (boxes[..., 2:] + boxes[..., :2]) / 2


def effective_kernels(layer: BaseBoxConv2D) -> np.ndarray:
    """Returns the depthwise convolution kernel that is equivalent to a layer's boxes.

    The kernel is exact, also for fractional edges: `keras.ops.depthwise_conv` of the zero-padded
    image with this kernel equals the box convolution. With `normalization="valid"` they are equal
    at outputs whose boxes lie inside the image.

    Args:
        layer: A built `DepthwiseBoxConv2D` or `BoxConv2D`.

    Returns:
        float64 array with shape `[height, width, channels, depth_multiplier]`. Height and width
        are odd and as small as possible. The output pixel is at the centre.

    Raises:
        ValueError: If a box that is not empty has an infinite edge.

    Example:
    >>> layer = tf_boxconv.layers.DepthwiseBoxConv2D(max_size=48)
    >>> layer.build((None, 48, 48, 1))
    >>> layer.set_boxes([[[-0.5, -1.0, 0.5, 1.0]]])  # One row, two pixels wide.
    >>> tf_boxconv.visualize.effective_kernels(layer)[..., 0, 0].round(3).tolist()
    [[0.25, 0.5, 0.25]]
    """
    boxes = boxes_array(layer)
    low, high = boxes[..., :2], boxes[..., 2:]
    not_empty = (high > low).all(axis=-1)
    edges = np.abs(boxes[not_empty])  # An empty box adds nothing to the kernel, wherever it is.
    if not np.isfinite(edges).all():
        raise ValueError(
            f"`layer` must have finite boxes. Received: layer '{layer.name}' with an infinite edge"
        )
    reach = [edges[:, axis::2].max(initial=0.0) for axis in (0, 1)]
    rows, columns = (
        _coverage(low[..., axis], high[..., axis], max(0, math.ceil(reach[axis] - 0.5)))
        for axis in (0, 1)
    )
    if layer.normalization is None:
        scale = 1.0
    else:
        area = np.where(not_empty, (high - low).prod(axis=-1), 1.0)
        scale = (1.0 / area)[..., None, None]
    kernels = np.where(not_empty[..., None, None], rows[..., :, None] * columns[..., None, :], 0.0)
    return np.moveaxis(kernels * scale, (0, 1), (2, 3))


def _coverage(low: np.ndarray, high: np.ndarray, radius: int) -> np.ndarray:
    """Returns the length of each pixel inside a box, along one axis.

    Args:
        low: `y_min` or `x_min`, `[...]`.
        high: `y_max` or `x_max`, `[...]`.
        radius: The pixels are `-radius` to `radius`.

    Returns:
        `[..., 2 * radius + 1]`, from 0 to 1.
    """
    pixels = np.arange(-radius, radius + 1)
    covered = np.minimum(pixels + 0.5, high[..., None]) - np.maximum(pixels - 0.5, low[..., None])
    return np.clip(covered, 0.0, 1.0)


def effective_kernel(
    layer: BaseBoxConv2D, index: int, mixing: np.ndarray | None = None
) -> np.ndarray:
    """Returns the `Conv2D` kernel that is equivalent to one filter: its weighted sum of boxes.

    Args:
        layer: A built `BoxConv2D`, or a `DepthwiseBoxConv2D` with `mixing`.
        index: int, the index of the filter.
        mixing: Array with shape `[channels * depth_multiplier, filters]`, the weights of the 1x1
            convolution after the layer; see `mixing_weights`. `None` uses the kernel of the
            `BoxConv2D`.

    Returns:
        float64 array with shape `[height, width, channels]`; see `effective_kernels`.

    Raises:
        ValueError: If `mixing` is missing or has a wrong shape, or if `index` is no index of a
            filter.

    Example:
    >>> layer = tf_boxconv.layers.BoxConv2D(8)
    >>> layer.build((None, 48, 48, 3))
    >>> kernel = tf_boxconv.visualize.effective_kernel(layer, 0)
    >>> kernel.shape[-1]
    3
    """
    kernels = effective_kernels(layer)
    channels, boxes = kernels.shape[2:]
    weights = own_mixing_weights(layer) if mixing is None else np.asarray(mixing, np.float64)
    if weights is None:
        raise ValueError(
            f"`mixing` must be given for a {type(layer).__name__}, which has no mixing weights. "
            "Received: mixing=None"
        )
    if weights.ndim != 2 or len(weights) != channels * boxes:
        raise ValueError(
            f"`mixing` must have shape [{channels * boxes}, filters]. Received: "
            f"mixing.shape={weights.shape}"
        )
    check_index(index, weights.shape[1], "index")
    return np.einsum("hwcm,cm->hwc", kernels, weights[:, index].reshape(channels, boxes))
