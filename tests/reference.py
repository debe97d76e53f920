"""The float64 reference of the operators in NumPy, which shares no code with the package.

The response to a plane `X` is `Ay @ X @ Ax.T`. `Ay[i, j]` is the part of pixel row `j` that the box
covers at output row `i`, from 0 to 1; `Ax` is the same for columns. To differentiate by an edge,
one of the matrices is replaced by its derivative. If the edge is on a pixel border, this is the
derivative in the direction in which the box grows.
"""

from __future__ import annotations

import numpy as np


def axis_matrices(low, high, size, stride, normalization, magnitudes=False):
    """Returns `A`, `dA/dlow`, `dA/dhigh`, each `[outputs, size]`, for an axis of a non-empty box.

    With `magnitudes`, each derivative is the sum of the absolute values of its two terms.
    """
    outputs = np.arange(0, size, stride, dtype=np.float64)[:, None]
    pixels = np.arange(size, dtype=np.float64)[None, :]
    covered = np.minimum(pixels - outputs + 0.5, high) - np.maximum(pixels - outputs - 0.5, low)
    coverage = np.clip(covered, 0.0, 1.0)
    d_high = (pixels == np.floor(outputs + (high + 0.5))).astype(np.float64)
    d_low = -(pixels == np.ceil(outputs + (low + 0.5)) - 1).astype(np.float64)
    if normalization is None:
        return coverage, (-d_low if magnitudes else d_low), d_high
    if normalization == "area":
        extent = np.full_like(outputs, high - low)
        d_extent_low, d_extent_high = -np.ones_like(outputs), np.ones_like(outputs)
    else:
        extent = coverage.sum(1, keepdims=True)
        d_extent_low, d_extent_high = d_low.sum(1, keepdims=True), d_high.sum(1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(extent > 0, 1.0 / extent, 0.0)
    terms_low = (d_low * inverse, -coverage * inverse**2 * d_extent_low)
    terms_high = (d_high * inverse, -coverage * inverse**2 * d_extent_high)
    if magnitudes:
        return coverage * inverse, *(np.abs(a) + np.abs(b) for a, b in (terms_low, terms_high))
    return coverage * inverse, *(a + b for a, b in (terms_low, terms_high))


def _is_empty(box):
    return not (box[2] > box[0] and box[3] > box[1])


def _channels_first(x, data_format):
    return x if data_format == "channels_first" else np.moveaxis(x, -1, 1)


def _to_format(x, data_format):
    return x if data_format == "channels_first" else np.moveaxis(x, 1, -1)


def box_conv2d(x, boxes, strides=(1, 1), normalization="area", data_format="channels_last"):
    """Computes the operator in float64; takes the arguments of `tf_boxconv.box_conv2d`."""
    x = _channels_first(np.asarray(x, np.float64), data_format)
    boxes = np.asarray(boxes, np.float64)
    strides = (strides, strides) if isinstance(strides, int) else strides
    n, c, h, w = x.shape
    m = boxes.shape[1]
    out = np.zeros((n, c * m, -(-h // strides[0]), -(-w // strides[1])))
    for i in range(c):
        for j in range(m):
            box = boxes[i, j]
            if _is_empty(box):
                continue
            rows = axis_matrices(box[0], box[2], h, strides[0], normalization)[0]
            columns = axis_matrices(box[1], box[3], w, strides[1], normalization)[0]
            out[:, i * m + j] = rows @ x[:, i] @ columns.T
    return _to_format(out, data_format)


def box_conv2d_gradients(
    x,
    boxes,
    output_grad,
    strides=(1, 1),
    normalization="area",
    data_format="channels_last",
    magnitudes=False,
):
    """Returns `(input_grad, boxes_grad)` in float64.

    With `magnitudes`, it returns the sums of the absolute values of all terms. `x` and
    `output_grad` must not be negative then.
    """
    x = _channels_first(np.asarray(x, np.float64), data_format)
    g = _channels_first(np.asarray(output_grad, np.float64), data_format)
    boxes = np.asarray(boxes, np.float64)
    strides = (strides, strides) if isinstance(strides, int) else strides
    c, h, w = x.shape[1:]
    m = boxes.shape[1]
    input_grad, boxes_grad = np.zeros_like(x), np.zeros_like(boxes)
    for i in range(c):
        for j in range(m):
            box = boxes[i, j]
            if _is_empty(box):
                continue
            rows = axis_matrices(box[0], box[2], h, strides[0], normalization, magnitudes)
            columns = axis_matrices(box[1], box[3], w, strides[1], normalization, magnitudes)
            plane_grad = g[:, i * m + j]
            input_grad[:, i] += rows[0].T @ plane_grad @ columns[0]
            for edge, ay, ax in (
                (0, rows[1], columns[0]),
                (1, rows[0], columns[1]),
                (2, rows[2], columns[0]),
                (3, rows[0], columns[2]),
            ):
                boxes_grad[i, j, edge] = np.sum(plane_grad * (ay @ x[:, i] @ ax.T))
    return _to_format(input_grad, data_format), boxes_grad


def separable_box_conv2d(
    x, boxes, kernel, bias, strides=(1, 1), normalization="area", data_format="channels_last"
):
    """Computes `tf_boxconv.separable_box_conv2d` in float64."""
    responses = box_conv2d(x, boxes, strides, normalization, data_format)
    planes = _channels_first(responses, data_format)
    out = np.einsum("nkij,kf->nfij", planes, np.asarray(kernel, np.float64))
    return _to_format(out + np.asarray(bias, np.float64)[:, None, None], data_format)


def separable_box_conv2d_gradients(
    x,
    boxes,
    kernel,
    output_grad,
    strides=(1, 1),
    normalization="area",
    data_format="channels_last",
    magnitudes=False,
):
    """Returns `(input_grad, boxes_grad, kernel_grad, bias_grad)` in float64.

    With `magnitudes`, it returns the sums of the absolute values of all terms. `x`, `kernel` and
    `output_grad` must not be negative then.
    """
    options = (strides, normalization, data_format)
    kernel = np.asarray(kernel, np.float64)
    g = _channels_first(np.asarray(output_grad, np.float64), data_format)
    responses = _channels_first(box_conv2d(x, boxes, *options), data_format)
    responses_grad = _to_format(np.einsum("nfij,kf->nkij", g, kernel), data_format)
    input_grad, boxes_grad = box_conv2d_gradients(x, boxes, responses_grad, *options, magnitudes)
    kernel_grad = np.einsum("nkij,nfij->kf", responses, g)
    return input_grad, boxes_grad, kernel_grad, g.sum((0, 2, 3))


def integral_image(x, data_format="channels_last"):
    """Computes the summed-area table in float64. Its first row and column are zeros."""
    x = _channels_first(np.asarray(x, np.float64), data_format)
    table = np.pad(x, ((0, 0), (0, 0), (1, 0), (1, 0))).cumsum(2).cumsum(3)
    return _to_format(table, data_format)
