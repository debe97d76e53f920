"""Effective kernels against the layers' responses and against the reference."""

import keras
import numpy as np
import pytest
from keras import ops

from tests import reference
from tests.backend import to_float64
from tests.boxes import random_box
from tests.images import images
from tests.tolerances import DERIVATIVES, EDGES, MODELS, VALUES
from tf_boxconv import visualize
from tf_boxconv.layers import BoxConv2D, DepthwiseBoxConv2D

SIZE = (9, 11)
EMPTY = [1.0, 0.0, 1.0, 3.0]


def awkward_boxes(channels=3, multiplier=4, seed=0):
    """Boxes of every kind. The last one is empty."""
    rng = np.random.default_rng(seed)
    drawn = np.stack([random_box(rng, *SIZE) for _ in range(channels * multiplier)])
    drawn = drawn.reshape(channels, multiplier, 4)
    drawn[-1, -1] = EMPTY
    return drawn


def depthwise(drawn, **kwargs):
    layer = DepthwiseBoxConv2D(drawn.shape[1], data_format="channels_last", **kwargs)
    layer.build((None, *SIZE, drawn.shape[0]))
    layer.set_boxes(drawn)
    return layer


def full(drawn, filters=5, **kwargs):
    layer = BoxConv2D(
        filters, depth_multiplier=drawn.shape[1], data_format="channels_last", **kwargs
    )
    layer.build((None, *SIZE, drawn.shape[0]))
    layer.set_boxes(drawn)
    return layer


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("normalization", ["area", None])
def test_kernels_are_the_responses_to_an_impulse(seed, normalization):
    drawn = awkward_boxes(seed=seed)
    layer = depthwise(drawn, normalization=normalization)
    kernels = visualize.effective_kernels(layer)
    height, width, channels, multiplier = kernels.shape
    assert height % 2 == width % 2 == 1 and (channels, multiplier) == (3, 4)
    ry, rx = height // 2, width // 2
    plane = np.zeros((1, 2 * height + 1, 2 * width + 1, channels), np.float32)
    y, x = height, width
    plane[0, y, x] = 1
    response = to_float64(layer(plane)).reshape(*plane.shape[1:3], channels, multiplier)
    # The impulse is at (dy, dx) from output (y - dy, x - dx).
    expected = response[y - ry : y + ry + 1, x - rx : x + rx + 1][::-1, ::-1]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(kernels, expected, atol=2e-6 * max(1, scale))
    # The response is zero outside the kernel, and the kernel's first and last lines are not zero.
    response[y - ry : y + ry + 1, x - rx : x + rx + 1] = 0
    assert np.abs(response).max() < 1e-6 * max(1, scale)
    assert kernels[[0, -1]].any() and kernels[:, [0, -1]].any()
    assert not kernels[..., -1, -1].any()  # the empty box


@pytest.mark.parametrize("normalization", ["area", None])
def test_a_conv2d_with_the_effective_kernel_equals_the_layer(normalization):
    layer = full(awkward_boxes(), normalization=normalization, use_bias=False)
    kernel = np.stack([visualize.effective_kernel(layer, f) for f in range(5)], axis=-1)
    x = images((2, *SIZE, 3), seed=1)
    expected = to_float64(layer(x))
    got = to_float64(ops.conv(x, kernel.astype(np.float32), padding="same"))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(got / scale, expected / scale, **MODELS["float32"])


def test_kernels_against_the_reference():
    """In float64, at the centre of a plane that holds every box."""
    drawn = awkward_boxes(seed=7)
    kernels = visualize.effective_kernels(depthwise(drawn, dtype="float64"))
    height, width = kernels.shape[:2]
    plane = images((1, height, width, 3), dtype=np.float64)
    expected = reference.box_conv2d(plane, drawn)[0, height // 2, width // 2].reshape(3, 4)
    got = np.einsum("hwcm,hwc->cm", kernels, plane[0])
    np.testing.assert_allclose(got, expected, **DERIVATIVES["float64"])


def test_kernels_of_valid_boxes_are_those_of_area():
    drawn = awkward_boxes()
    area = visualize.effective_kernels(depthwise(drawn))
    valid = visualize.effective_kernels(depthwise(drawn, normalization="valid"))
    np.testing.assert_array_equal(area, valid)


@pytest.mark.parametrize("normalization,total", [("area", 1.0), (None, 1.5 * 2.25)])
def test_a_kernel_computed_by_hand(normalization, total):
    drawn = np.array([[[-0.5, -0.75, 1.0, 1.5]]])
    kernel = visualize.effective_kernels(depthwise(drawn, normalization=normalization))[..., 0, 0]
    rows, columns = [0.0, 1.0, 0.5], [0.25, 1.0, 1.0]
    expected = np.outer(rows, columns) * total / (1.5 * 2.25)
    np.testing.assert_allclose(kernel, expected, **VALUES["float32"])


def test_the_kernel_of_the_identity_is_one_pixel():
    layer = depthwise(np.array([[[-0.5, -0.5, 0.5, 0.5]]]))
    np.testing.assert_allclose(visualize.effective_kernels(layer), [[[[1.0]]]], **VALUES["float32"])


def test_the_kernel_of_empty_boxes_is_zero():
    layer = depthwise(np.array([[EMPTY]]))
    assert visualize.effective_kernels(layer).tolist() == [[[[0.0]]]]


def test_infinite_boxes_have_no_kernel():
    layer = depthwise(np.array([[[-1.0, -np.inf, 1.0, 2.0]]]))
    with pytest.raises(ValueError, match="`layer` must have finite boxes"):
        visualize.effective_kernels(layer)


def test_box_sizes_and_offsets_are_in_pixels():
    layer = depthwise(np.array([[[-1.0, -2.0, 3.0, 0.5], [0.0, 0.0, 1.0, 2.0]]]))
    np.testing.assert_allclose(visualize.box_sizes(layer), [[[4, 2.5], [1, 2]]], **EDGES["float32"])
    np.testing.assert_allclose(
        visualize.box_offsets(layer), [[[1, -0.75], [0.5, 1]]], **EDGES["float32"]
    )


def test_mixing_weights_may_be_given():
    drawn = awkward_boxes()
    layer, mixing = depthwise(drawn), images((12, 2), dtype=np.float64)
    kernels = visualize.effective_kernels(layer)
    got = visualize.effective_kernel(layer, 1, mixing)
    for c in range(3):
        expected = sum(mixing[c * 4 + m, 1] * kernels[..., c, m] for m in range(4))
        np.testing.assert_allclose(got[..., c], expected, **DERIVATIVES["float64"])


@pytest.mark.parametrize(
    "mixing,index,message",
    [
        (None, 0, "`mixing` must be given for a DepthwiseBoxConv2D"),
        (np.ones(12), 0, r"`mixing` must have shape \[12, filters\].*shape=\(12,\)"),
        (np.ones((11, 2)), 0, r"shape=\(11, 2\)"),
        (np.ones((12, 2)), 2, "`index` must be an integer from 0 to 1.*index=2"),
        (np.ones((12, 2)), -1, "`index` must be an integer from 0 to 1.*index=-1"),
        (np.ones((12, 2)), 1.0, "`index` must be an integer from 0 to 1.*index=1.0"),
    ],
)
def test_errors_name_the_argument(mixing, index, message):
    with pytest.raises(ValueError, match=message):
        visualize.effective_kernel(depthwise(awkward_boxes()), index, mixing)


def test_other_layers_are_refused():
    with pytest.raises(TypeError, match=r"`layer` must be a box convolution layer.*Dense"):
        visualize.box_sizes(keras.layers.Dense(1))
