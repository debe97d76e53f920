"""What the drawn figures contain, and what the module imports."""

import ast
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from tests.tolerances import EDGES
from tf_boxconv import visualize
from tf_boxconv.layers import BoxConv2D, DepthwiseBoxConv2D
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


def _rectangles(figure):
    (axes,) = figure.axes
    rectangles = [p for p in axes.patches if isinstance(p, Rectangle)]
    boxes = [r for r in rectangles if r.get_linestyle() in ("-", "solid")]
    (frame,) = (r for r in rectangles if r.get_linestyle() in ("--", "dashed"))
    return boxes, frame


def _edges(rectangle):
    x, y = rectangle.get_xy()
    return [y, x, y + rectangle.get_height(), x + rectangle.get_width()]


def test_boxes_and_frame_are_drawn_in_pixels(layer):
    boxes, frame = _rectangles(visualize.draw_boxes(layer, weights=None))
    edges = sorted(_edges(box) for box in boxes)
    expected = sorted(BOXES.reshape(4, 4).tolist())
    np.testing.assert_allclose(edges, expected, **EDGES["float32"])
    np.testing.assert_allclose(_edges(frame), [-6, -8, 6, 8])


def test_the_axes_hold_all_boxes_and_y_points_down(layer):
    (axes,) = visualize.draw_boxes(layer).axes
    assert axes.get_xlim()[1] > 8 and axes.get_ylim()[0] > 9 > -9 > axes.get_ylim()[1]


def test_boxes_of_larger_weight_are_darker_and_on_top(layer):
    weights = np.array([[0.1, 1.0], [-0.5, 0.0]])
    boxes, _ = _rectangles(visualize.draw_boxes(layer, weights))
    opacity = {tuple(np.round(_edges(box), 3)): box.get_alpha() for box in boxes}
    by_strength = [opacity[tuple(box)] for box in BOXES.reshape(4, 4)[[1, 2, 0, 3]]]
    assert by_strength == sorted(by_strength, reverse=True)
    np.testing.assert_allclose(_edges(boxes[-1]), BOXES[0, 1], **EDGES["float32"])
    strongest, _ = _rectangles(visualize.draw_boxes(layer, weights, limit=1))
    np.testing.assert_allclose(
        [_edges(box) for box in strongest], [BOXES[0, 1]], **EDGES["float32"]
    )


def test_the_weights_default_to_those_that_mix_the_boxes():
    layer = BoxConv2D(3, depth_multiplier=2, max_size=(12, 16), data_format="channels_last")
    layer.build((None, 12, 16, 2))
    layer.set_boxes(BOXES)
    kernel = np.zeros((4, 3))
    kernel[2] = [3, 4, 0]  # the first box of the second channel, whose weights have norm 5
    kernel[1] = [0, 0, 1]
    layer.kernel.assign(kernel)
    np.testing.assert_allclose(drawing.box_weights(layer), [[0, 1], [5, 0]])
    boxes, _ = _rectangles(visualize.draw_boxes(layer))
    np.testing.assert_allclose(_edges(boxes[-1]), BOXES[1, 0], **EDGES["float32"])


def test_bad_weights_are_refused(layer):
    with pytest.raises(ValueError, match=r"`weights` must have .* 4 boxes.* 3 values"):
        visualize.draw_boxes(layer, np.ones(3))
    with pytest.raises(ValueError, match='`weights` must be "mixing"'):
        visualize.draw_boxes(layer, "norm")


def test_a_kernel_is_drawn_as_the_sum_of_its_channels():
    kernel = np.zeros((3, 5, 2))
    kernel[0, 4] = [1.0, 1.0]
    kernel[2, 0] = [-2.0, 1.0]
    axes = visualize.draw_kernel(kernel).axes[0]
    (picture,) = axes.images
    np.testing.assert_array_equal(picture.get_array(), kernel.sum(-1))
    assert picture.get_extent() == [-2.5, 2.5, 1.5, -1.5]
    assert picture.get_clim() == (-2, 2)  # symmetric, so that zero is white
    visualize.draw_kernel(np.zeros((1, 1)))
    with pytest.raises(ValueError, match=r"`kernel` must have .*shape=\(3,\)"):
        visualize.draw_kernel(np.zeros(3))


def test_histograms_count_every_box(layer):
    figure = visualize.draw_histograms(layer)
    for axes in figure.axes:
        counts = sum(bar.get_height() for bar in axes.patches)
        assert counts == 2 * 4  # two values for each box


def test_to_pixels_returns_an_rgb_array(layer):
    pixels = drawing.to_pixels(visualize.draw_boxes(layer, None), dpi=50)
    assert pixels.shape == (220, 210, 3) and pixels.dtype == np.uint8
    blue = np.array(to_rgb("#1f6fb4")) * 255
    near = np.abs(pixels - (255 * 0.63 + blue * 0.37)).max(axis=-1) < 25
    assert near.sum() > 50


def test_a_receptive_field_is_drawn_as_the_root_of_its_share_of_the_largest_value():
    field = np.array([[0.0, 1.0], [4.0, 0.25]])
    axes = visualize.draw_receptive_field(field).axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0, 0.5], [1, 0.25]])
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
    allowed |= {"tf_boxconv", "typing"}
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
