"""Tests of the drawn figures, and of the imports of the module."""

import ast
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from tests.visualize.figures import assert_nothing_is_covered_or_cut_off, color_bar
from tf_boxconv import visualize
from tf_boxconv.layers import DepthwiseBoxConv2D
from tf_boxconv.visualize import drawing

BOXES = np.array(
    [[[-2.0, -3.0, 1.0, 2.0], [0.5, 0.5, 2.0, 4.0]], [[-9.0, -1, 9, 1], [-1, -1, 1, 1]]]
)


@pytest.fixture
def layer():
    layer = DepthwiseBoxConv2D(2, max_size=(12, 16), data_format="channels_last")
    layer.build((None, 12, 16, 2))
    layer.set_boxes(BOXES)
    return layer


def test_a_kernel_is_drawn_as_the_sum_of_its_channels():
    kernel = np.zeros((3, 5, 2))
    kernel[0, 4] = [1.0, 1.0]
    kernel[2, 0] = [-2.0, 1.0]
    axes = visualize.draw_kernel(kernel).axes[0]
    (picture,) = axes.images
    np.testing.assert_array_equal(picture.get_array(), kernel.sum(-1))
    assert picture.get_extent() == [-2.5, 2.5, 1.5, -1.5]
    assert picture.get_clim() == (-2, 2)  # symmetric, so that zero is white
    assert axes.get_xlabel() == "x in pixels from the output pixel"
    assert axes.get_ylabel() == "y in pixels from the output pixel"
    visualize.draw_kernel(np.zeros((1, 1)))
    with pytest.raises(ValueError, match=r"`kernel` must have .*shape=\(3,\)"):
        visualize.draw_kernel(np.zeros(3))


@pytest.mark.parametrize("size", [(1, 1), (30, 30), (30, 34), (34, 30), (8, 60), (60, 8)])
def test_pictures_of_any_size_have_a_labelled_colour_bar_and_nothing_is_cut_off(size):
    for figure, label in (
        (visualize.draw_kernel(np.ones(size)), "weight of the pixel"),
        (visualize.draw_kernel(np.ones((*size, 2))), "weight of the pixel (sum over channels)"),
        (visualize.draw_receptive_field(np.ones(size)), "effect on the central output pixel"),
    ):
        assert color_bar(figure).get_ylabel().startswith(label)
        assert_nothing_is_covered_or_cut_off(figure)


def test_histograms_count_every_box(layer):
    figure = visualize.draw_histograms(layer)
    sizes, centres = figure.axes
    for axes in figure.axes:
        counts = sum(bar.get_height() for bar in axes.patches)
        assert counts == 2 * 4  # two values for each box
        assert axes.get_ylabel() == "number of boxes"
    assert sizes.get_xlabel() == "size of the box in pixels"
    assert centres.get_xlabel() == "centre of the box in pixels from the output pixel"
    assert figure.get_suptitle() == layer.name
    assert_nothing_is_covered_or_cut_off(figure)


def test_histograms_leave_out_infinite_values(layer):
    layer.set_boxes([[[-1, -np.inf, 1, np.inf], [0, 0, 2, 2]], [[-1, -1, 1, 1], [np.nan] * 4]])
    figure = visualize.draw_histograms(layer)
    for axes in figure.axes:
        assert sum(bar.get_height() for bar in axes.patches) == 3 + 2


def test_to_pixels_returns_an_rgb_array(layer):
    pixels = drawing.to_pixels(visualize.draw_boxes(layer, None), dpi=50)
    assert pixels.shape == (240, 210, 3) and pixels.dtype == np.uint8
    blue = np.array(to_rgb("#1f6fb4")) * 255
    near = np.abs(pixels - (255 * 0.6 + blue * 0.4)).max(axis=-1) < 25
    assert near.sum() > 50


def test_a_receptive_field_is_drawn_as_the_root_of_its_share_of_the_largest_value():
    field = np.array([[0.0, 1.0], [4.0, 0.25]])
    axes = visualize.draw_receptive_field(field).axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0, 0.5], [1, 0.25]])
    assert axes.get_xlabel() == "x in pixels of the input"
    assert axes.get_ylabel() == "y in pixels of the input"
    with pytest.raises(ValueError, match="`field` must have shape"):
        visualize.draw_receptive_field(np.zeros(3))


def test_functions_that_return_arrays_need_no_matplotlib():
    """In a process without it, because Keras imports it if it is installed."""
    code = """
import sys
for name in ("matplotlib", "PIL"):
    sys.modules[name] = None  # so that an import raises ImportError
from tests.tolerances import EDGES
from tf_boxconv import visualize
from tf_boxconv.layers import DepthwiseBoxConv2D
layer = DepthwiseBoxConv2D()
layer.build((None, 8, 8, 2))
assert visualize.effective_kernels(layer).shape[2:] == (2, 1)
visualize.BoxLogger(animation="a.gif")
try:
    visualize.draw_boxes(layer)
except ImportError as error:
    assert "matplotlib" in str(error)
else:
    raise AssertionError("drawn without matplotlib")
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_modules_import_only_keras_and_numpy_at_the_top():
    allowed = {"__future__", "collections", "contextlib", "keras", "math", "numpy", "os", "pathlib"}
    allowed |= {"re", "tempfile", "tf_boxconv", "typing"}
    for path in Path(visualize.__file__).parent.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import):
                names = {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {node.module.split(".")[0]}
            else:
                continue
            assert names <= allowed, (path.name, names)
    assert keras.backend.backend()
