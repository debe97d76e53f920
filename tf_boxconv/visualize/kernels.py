"""The kernels that box layers amount to, and the sizes and places of their boxes, as arrays."""

from __future__ import annotations

import math

import numpy as np
from keras import ops

from tf_boxconv.layers.base_box_conv import BaseBoxConv2D
from tf_boxconv.visualize.mixing_weights import own_mixing_weights


def boxes_array(layer: BaseBoxConv2D) -> np.ndarray:
    """The boxes of a built layer, float64 `[channels, depth_multiplier, 4]`, in pixels."""
    if not isinstance(layer, BaseBoxConv2D):
        raise TypeError(f"`layer` must be a box convolution layer, got {type(layer).__name__}.")
    return np.asarray(ops.convert_to_numpy(layer.boxes), np.float64)


def box_sizes(layer: BaseBoxConv2D) -> np.ndarray:
    """Heights and widths of a layer's boxes.

    Args:
        layer: A built `DepthwiseBoxConv2D` or `BoxConv2D`.

    Returns:
        float64 `[channels, depth_multiplier, 2]`, `(height, width)` in pixels.
    """
    boxes = boxes_array(layer)
    return boxes[..., 2:] - boxes[..., :2]


def box_offsets(layer: BaseBoxConv2D) -> np.ndarray:
    """Where the middles of a layer's boxes are.

    Args:
        layer: A built `DepthwiseBoxConv2D` or `BoxConv2D`.

    Returns:
        float64 `[channels, depth_multiplier, 2]`, `(y, x)` in pixels from the output pixel.
    """
    boxes = boxes_array(layer)
    return (boxes[..., 2:] + boxes[..., :2]) / 2


def effective_kernels(layer: BaseBoxConv2D) -> np.ndarray:
    """The kernel of each box of a layer, as that of a depthwise convolution.

    Exact, with fractional edges: `keras.ops.depthwise_conv` of an image with zeros around it and
    this kernel gives what the boxes give. With `normalization="valid"` that holds where the boxes
    lie inside the image.

    Args:
        layer: A built `DepthwiseBoxConv2D` or `BoxConv2D`.

    Returns:
        float64 `[height, width, channels, depth_multiplier]`, both sides odd and as small as the
        boxes allow; the middle is the output pixel.

    Raises:
        ValueError: A box is infinite.
    """
    boxes = boxes_array(layer)
    low, high = boxes[..., :2], boxes[..., 2:]
    not_empty = (high > low).all(axis=-1)
    edges = np.abs(boxes[not_empty])  # Of empty boxes nothing is to be seen, however far they are.
    if not np.isfinite(edges).all():
        raise ValueError(
            f"`layer` must have boxes with an end, and one of '{layer.name}' has none."
        )
    reach = [edges[:, axis::2].max(initial=0.0) for axis in (0, 1)]
    rows, columns = (
        _overlaps(low[..., axis], high[..., axis], max(0, math.ceil(reach[axis] - 0.5)))
        for axis in (0, 1)
    )
    if layer.normalization is None:
        scale = 1.0
    else:
        area = np.where(not_empty, (high - low).prod(axis=-1), 1.0)
        scale = (1.0 / area)[..., None, None]
    kernels = np.where(not_empty[..., None, None], rows[..., :, None] * columns[..., None, :], 0.0)
    return np.moveaxis(kernels * scale, (0, 1), (2, 3))


def _overlaps(low: np.ndarray, high: np.ndarray, radius: int) -> np.ndarray:
    """How much of each pixel from `-radius` to `radius` lies between edges; appends an axis."""
    pixels = np.arange(-radius, radius + 1)
    covered = np.minimum(pixels + 0.5, high[..., None]) - np.maximum(pixels - 0.5, low[..., None])
    return np.clip(covered, 0.0, 1.0)


def effective_kernel(
    layer: BaseBoxConv2D, index: int, mixing: np.ndarray | None = None
) -> np.ndarray:
    """The kernel that one filter amounts to: its weighted sum of boxes, as a `Conv2D` has it.

    Args:
        layer: A built `BoxConv2D`, or a `DepthwiseBoxConv2D` with `mixing`.
        index: Which filter.
        mixing: `[channels * depth_multiplier, filters]`, the weights of the 1x1 convolution that
            follows; `mixing_weights` finds them. None takes the layer's own.

    Returns:
        float64 `[height, width, channels]`, see `effective_kernels`.

    Raises:
        ValueError: If there are no weights, of another shape, or no such filter.
    """
    kernels = effective_kernels(layer)
    channels, boxes = kernels.shape[2:]
    weights = own_mixing_weights(layer) if mixing is None else np.asarray(mixing, np.float64)
    if weights is None:
        raise ValueError(
            f"`mixing` must be given for a {type(layer).__name__}, which has no weights of its own."
        )
    if weights.ndim != 2 or len(weights) != channels * boxes:
        raise ValueError(
            f"`mixing` must have shape [{channels * boxes}, filters], got {list(weights.shape)}."
        )
    if not 0 <= index < weights.shape[1]:
        raise ValueError(f"`index` must be from 0 to {weights.shape[1] - 1}, got {index}.")
    return np.einsum("hwcm,cm->hwc", kernels, weights[:, index].reshape(channels, boxes))
