"""Tests of `draw_boxes`, for one layer and for whole models."""

import itertools

import keras
import numpy as np
import pytest
from matplotlib.patches import Rectangle

from tests.tolerances import EDGES
from tests.visualize.figures import assert_nothing_is_covered_or_cut_off, color_bar, panels
from tf_boxconv import visualize
from tf_boxconv.layers import BoxBottleneck, BoxConv2D, DepthwiseBoxConv2D
from tf_boxconv.visualize import box_drawing
from tf_boxconv.visualize.kernels import boxes_array

BOXES = np.array(
    [[[-2.0, -3.0, 1.0, 2.0], [0.5, 0.5, 2.0, 4.0]], [[-9.0, -1, 9, 1], [-1, -1, 1, 1]]]
)
INFINITE = [-1.0, -np.inf, 1.0, np.inf]


@pytest.fixture
def layer():
    layer = DepthwiseBoxConv2D(2, max_size=(12, 16), name="context", data_format="channels_last")
    layer.build((None, 12, 16, 2))
    layer.set_boxes(BOXES)
    return layer


@pytest.fixture
def model():
    return keras.Sequential(
        [
            keras.Input((12, 16, 2)),
            BoxConv2D(4, name="first"),
            BoxBottleneck(4, name="block"),
            keras.layers.ReLU(),
            DepthwiseBoxConv2D(2, name="last"),
        ]
    )


def _rectangles(figure, axes=None):
    axes = panels(figure)[0] if axes is None else axes
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
    (axes,) = panels(visualize.draw_boxes(layer))
    assert axes.get_xlim()[1] > 8 and axes.get_ylim()[0] > 9 > -9 > axes.get_ylim()[1]


def test_boxes_that_are_left_out_do_not_widen_the_axes(layer):
    weights = np.array([[0.0, 1.0], [0.0, 0.0]])
    for initial in (None, BOXES):
        figure = visualize.draw_boxes(layer, weights, limit=1, initial_boxes=initial)
        assert all(axes.get_xlim()[1] == pytest.approx(1.05 * 8) for axes in panels(figure))


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
    np.testing.assert_allclose(box_drawing.box_weights(layer), [[0, 1], [5, 0]])
    boxes, _ = _rectangles(visualize.draw_boxes(layer))
    np.testing.assert_allclose(_edges(boxes[-1]), BOXES[1, 0], **EDGES["float32"])


def test_bad_weights_are_refused(layer):
    with pytest.raises(ValueError, match=r"`weights` must have .* 4 boxes.* 3 values"):
        visualize.draw_boxes(layer, np.ones(3))
    with pytest.raises(ValueError, match='`weights` must be "mixing"'):
        visualize.draw_boxes(layer, "norm")


def test_a_layer_has_units_a_title_and_a_legend_outside(layer):
    figure = visualize.draw_boxes(layer, weights=None)
    (axes,) = panels(figure)
    assert axes.get_title() == "context\nequal weights"
    assert axes.get_xlabel() == "x in pixels from the output pixel"
    assert axes.get_ylabel() == "y in pixels from the output pixel"
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["output pixel", "box", "input size (max_size)"]
    assert figure.axes == [axes]  # Equal weights need no colour bar.
    assert_nothing_is_covered_or_cut_off(figure)


def test_the_colour_bar_shows_the_colours_of_the_weights(layer):
    figure = visualize.draw_boxes(layer, np.array([[0.0, 2.0], [-1.0, 4.0]]))
    bar = color_bar(figure)
    assert bar.get_ylabel() == "weight of the box / largest weight in its layer"
    assert bar.get_ylim() == (0, 1)
    colors = bar._colorbar.mappable
    drawn, _ = _rectangles(figure)
    for box, share in zip(drawn, (0, 0.25, 0.5, 1.0), strict=True):  # The strongest is on top.
        red, green, blue, opacity = box.get_edgecolor()
        on_white = 1 - opacity * (1 - np.array([red, green, blue]))
        np.testing.assert_allclose(colors.to_rgba(share)[:3], on_white, atol=0.01)
    assert_nothing_is_covered_or_cut_off(figure)


def test_a_model_has_a_panel_for_each_box_layer(model):
    figure = visualize.draw_boxes(model, limit=16)
    titles = [axes.get_title() for axes in panels(figure)]
    assert titles == ["first", "block/box_conv\nequal weights", "last\nequal weights"]
    for axes, boxes in zip(panels(figure), visualize.boxes_by_layer(model).values(), strict=True):
        drawn, frame = _rectangles(figure, axes)
        expected = sorted(boxes.reshape(-1, 4).tolist())
        np.testing.assert_allclose(sorted(map(_edges, drawn)), expected, **EDGES["float32"])
        np.testing.assert_allclose(_edges(frame), [-6, -8, 6, 8])
        assert axes.get_xlabel() == "x in pixels from the output pixel"
    assert panels(figure)[0].get_ylabel() == "y in pixels from the output pixel"
    assert color_bar(figure)
    assert_nothing_is_covered_or_cut_off(figure)
    (inner,) = panels(visualize.draw_boxes(model.get_layer("block")))
    assert inner.get_title() == "box_conv\nequal weights"


def test_initial_boxes_are_drawn_beside_the_learned_ones(model):
    initial = visualize.boxes_by_layer(model)
    first = model.get_layer("first")
    first.set_boxes(3 * initial["first"])
    figure = visualize.draw_boxes(model, initial_boxes=initial)
    assert [axes.get_title() for axes in panels(figure)] == [
        f"{name}\n{stage} boxes{weights}"
        for name, weights in [
            ("first", ""),
            ("block/box_conv", ", equal weights"),
            ("last", ", equal weights"),
        ]
        for stage in ("initial", "learned")
    ]
    before, after = panels(figure)[:2]
    assert before.get_xlim() == after.get_xlim() and before.get_ylim() == after.get_ylim()
    pairs = zip(_rectangles(figure, before)[0], _rectangles(figure, after)[0], strict=True)
    for initial_box, learned_box in pairs:
        np.testing.assert_allclose(
            3 * np.array(_edges(initial_box)), _edges(learned_box), rtol=1e-5, atol=1e-5
        )
        assert initial_box.get_alpha() == learned_box.get_alpha()
    assert_nothing_is_covered_or_cut_off(figure)


@pytest.mark.parametrize(
    "choose,name",
    [
        (lambda model: model.get_layer("block"), "box_conv"),
        (lambda model: model.get_layer("block").box_conv, "box_conv"),
        (lambda model: model.get_layer("last"), "last"),
    ],
    ids=["block", "layer of a block", "layer"],
)
def test_initial_boxes_of_a_model_serve_a_layer_of_it(model, choose, name):
    initial = visualize.boxes_by_layer(model)
    figure = visualize.draw_boxes(choose(model), initial_boxes=initial)
    titles = [axes.get_title() for axes in panels(figure)]
    stages = ("initial", "learned")
    assert titles == [f"{name}\n{stage} boxes, equal weights" for stage in stages]


def test_initial_boxes_of_one_layer_may_be_an_array(layer):
    figure = visualize.draw_boxes(layer, initial_boxes=BOXES + 1)
    drawn, _ = _rectangles(figure, panels(figure)[0])
    expected = sorted((BOXES + 1).reshape(4, 4).tolist())
    np.testing.assert_allclose(sorted(map(_edges, drawn)), expected, **EDGES["float32"])


def test_eight_boxes_are_drawn_unless_limit_says_otherwise(model):
    (axes,) = panels(visualize.draw_boxes(model.get_layer("last")))
    assert axes.get_title() == "last\nequal weights"  # 4 channels x 2
    first = model.get_layer("first")  # 2 channels x 4
    wide = BoxConv2D(2, max_size=9, name="wide")
    wide.build((None, 9, 9, 5))
    assert panels(visualize.draw_boxes(first))[0].get_title() == "first"
    assert panels(visualize.draw_boxes(wide))[0].get_title() == "wide\n8 of 20 boxes"
    assert panels(visualize.draw_boxes(wide, limit=20))[0].get_title() == "wide"


@pytest.mark.parametrize("limit", [0, -1, 2.0])
def test_the_limit_is_a_positive_integer(layer, limit):
    with pytest.raises(ValueError, match="`limit` must be a positive integer"):
        visualize.draw_boxes(layer, limit=limit)


def test_long_names_are_broken_into_lines():
    name = "convnext_tiny_stage_0_block_0_depthwise_conv"
    image = keras.Input((8, 8, 2))
    x = image
    for index in range(4):
        x = DepthwiseBoxConv2D(name=f"{name}_{index}")(x)
    figure = visualize.draw_boxes(keras.Model(image, x))
    titles = [axes.get_title() for axes in panels(figure)]
    assert titles[0] == "convnext_tiny_stage_0_block_0_\ndepthwise_conv_0\nequal weights"
    figure.draw_without_rendering()
    extents = [axes.title.get_window_extent() for axes in panels(figure)]
    for left, right in itertools.pairwise(extents):
        assert left.x1 < right.x0


def test_the_title_counts_the_boxes_if_some_are_left_out(layer):
    (axes,) = panels(visualize.draw_boxes(layer, weights=None, limit=3))
    assert axes.get_title() == "context\n3 of 4 boxes, equal weights"
    figure = visualize.draw_boxes(layer, limit=1, initial_boxes=BOXES)
    assert [axes.get_title() for axes in panels(figure)] == [
        "context\n1 of 4 initial boxes, equal weights",
        "context\n1 of 4 learned boxes, equal weights",
    ]


def test_empty_boxes_are_not_drawn(layer):
    layer.set_boxes([[[0, 0, 0, 5], [2, 0, 1, 1]], [[np.nan] * 4, [-1, -1, 1, 1]]])
    figure = visualize.draw_boxes(layer)
    drawn, _ = _rectangles(figure)
    assert [_edges(box) for box in drawn] == [[-1, -1, 1, 1]]
    assert panels(figure)[0].get_title() == "context\n1 of 4 boxes, equal weights"
    layer.set_boxes(np.zeros((2, 2, 4)))
    figure = visualize.draw_boxes(layer)
    assert panels(figure)[0].get_title() == "context\n0 of 4 boxes, equal weights"
    assert_nothing_is_covered_or_cut_off(figure)


def test_infinite_and_huge_boxes_are_drawn(layer):
    layer.set_boxes(
        [[INFINITE, [-2, -2, 2, 2]], [[-1e5, -3e6, 1, 2], [-np.inf] * 2 + [np.inf] * 2]]
    )
    figure = visualize.draw_boxes(layer)
    (axes,) = panels(figure)
    left, right = axes.get_xlim()
    assert left < -3e6 and right > 3e6
    drawn, _ = _rectangles(figure)
    edges = np.array([_edges(box) for box in drawn])
    assert len(edges) == 4 and np.isfinite(edges).all()
    (line,) = edges[edges[:, 2] == 1][edges[edges[:, 2] == 1][:, 0] == -1]
    assert line[1] < left and line[3] > right  # The vertical edges lie outside the axes.
    assert_nothing_is_covered_or_cut_off(figure)


def test_weights_that_are_not_finite_count_as_zero(layer):
    figure = visualize.draw_boxes(layer, np.array([[np.nan, 1.0], [np.inf, 0.5]]))
    drawn, _ = _rectangles(figure)
    opacity = [box.get_alpha() for box in drawn]
    assert opacity[0] == opacity[1] < opacity[2] < opacity[3]
    drawn, _ = _rectangles(visualize.draw_boxes(layer, np.zeros((2, 2))))
    assert len(drawn) == 4


def test_models_without_built_box_layers_are_refused():
    plain = keras.Sequential([keras.Input((8, 8, 2)), keras.layers.Conv2D(3, 1)], name="plain")
    with pytest.raises(ValueError, match=r"`layer` must be a built box layer.*named 'plain'"):
        visualize.draw_boxes(plain)
    with pytest.raises(ValueError, match=r"`layer` must be a built box layer.*BoxConv2D"):
        visualize.draw_boxes(BoxConv2D(3))
    with pytest.raises(TypeError, match=r"`layer` must be a box layer or a model.*ndarray"):
        visualize.draw_boxes(BOXES)


def test_bad_arguments_of_several_layers_are_refused(model):
    with pytest.raises(ValueError, match='`weights` must be "mixing" or None for the 3 box'):
        visualize.draw_boxes(model, weights=np.ones(4))
    with pytest.raises(ValueError, match="with 3 box layers, `initial_boxes` must be a dict"):
        visualize.draw_boxes(model, initial_boxes=BOXES)
    initial = visualize.boxes_by_layer(model)
    with pytest.raises(ValueError, match=r"`initial_boxes` must have boxes for layer 'last'"):
        visualize.draw_boxes(model, initial_boxes={k: initial[k] for k in list(initial)[:2]})
    with pytest.raises(ValueError, match=r"must have shape \(4, 2, 4\) for layer 'last'.*\(2, 4\)"):
        visualize.draw_boxes(model, initial_boxes=initial | {"last": np.ones((2, 4))})


def test_layers_of_the_same_path_get_different_names():
    image = keras.Input((8, 8, 2))
    halves = [keras.Model(image, DepthwiseBoxConv2D(1, name="boxes")(image)) for _ in range(2)]
    other = keras.Input((8, 8, 2))
    model = keras.Model(other, [half(other) for half in halves])
    found = visualize.boxes_by_layer(model)
    assert list(found) == ["boxes", "boxes (2)"]
    for half, boxes in zip(halves, found.values(), strict=True):
        np.testing.assert_array_equal(boxes, boxes_array(half.layers[-1]))
