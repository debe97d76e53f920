"""The reference for derivatives on JAX: box convolution in plain `jax.numpy`."""

from __future__ import annotations

import jax.numpy as jnp


def _coverage_matrix(low, high, size, stride, normalization):
    offset = (jnp.arange(size)[None, :] - jnp.arange(0, size, stride)[:, None]).astype(low.dtype)
    low, high = low[..., None, None], high[..., None, None]
    # Not `minimum` and `maximum`, which halve the gradient at a tie. Here an edge on a pixel border
    # has the derivative in the direction in which the box grows.
    end = jnp.where(high < offset + 0.5, high, offset + 0.5)
    begin = jnp.where(low > offset - 0.5, low, offset - 0.5)
    coverage = jnp.where(end - begin >= 0, end - begin, 0.0)
    if normalization == "area":
        return coverage / (high - low)
    if normalization == "valid":
        total = coverage.sum(-1, keepdims=True)
        return jnp.where(total > 0, coverage / jnp.where(total > 0, total, 1.0), 0.0)
    return coverage


def box_conv2d_reference(
    x, boxes, strides=(1, 1), normalization="area", data_format="channels_last"
):
    x = jnp.asarray(x)
    planes = jnp.moveaxis(x, -1, 1) if data_format == "channels_last" else x
    planes = planes.astype(boxes.dtype)
    valid = jnp.all(boxes[..., 2:] > boxes[..., :2], -1)[..., None]
    boxes = jnp.where(valid, boxes, jnp.array([-0.5, -0.5, 0.5, 0.5], boxes.dtype))
    n, c, h, w = planes.shape
    rows, columns = (
        jnp.where(
            valid[..., None],
            _coverage_matrix(
                boxes[..., i], boxes[..., i + 2], (h, w)[i], strides[i], normalization
            ),
            0.0,
        )
        for i in (0, 1)
    )
    out = jnp.einsum("cmih,nchw,cmjw->ncmij", rows, planes, columns)
    out = out.reshape(n, c * boxes.shape[1], *out.shape[3:])
    return (jnp.moveaxis(out, 1, -1) if data_format == "channels_last" else out).astype(x.dtype)
