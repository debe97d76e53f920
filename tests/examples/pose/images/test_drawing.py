"""Tests of drawn poses, captions, grids and comparisons."""

import numpy as np
import pytest

from examples.pose.datasets.skeletons import LSP_SKELETON, Skeleton
from examples.pose.images import drawing

ARM = Skeleton(
    joint_names=("right_elbow", "right_wrist"),
    flip_pairs=(),
    limbs=((0, 1),),
    pck_reference=(0, 1),
)
GREY = np.full((100, 200, 3), 128, np.uint8)


def changed_pixels(drawn, image=GREY):
    return (drawn.astype(int) != image).any(axis=-1)


def draw_arm(joints, visibility, **kwargs):
    return drawing.draw_pose(GREY, np.array(joints, float), np.array(visibility), ARM, **kwargs)


def test_draws_the_limb_and_nothing_else():
    drawn = draw_arm([[40, 50], [160, 50]], [2, 2])
    assert drawn.shape == GREY.shape and drawn.dtype == np.uint8
    # A stroke in the right side's colour connects the joints.
    np.testing.assert_array_equal(drawn[50, 60:140], [drawing.SIDE_COLORS["right"]] * 80)
    rows, columns = np.nonzero(changed_pixels(drawn))
    assert 35 <= columns.min() < 40 and 160 < columns.max() <= 165
    assert 44 <= rows.min() < 50 < rows.max() <= 56
    # Pixel coordinates are pixel centres, so the drawing is symmetric about (100, 50).
    assert (columns.min() + columns.max()) / 2 == pytest.approx(100, abs=0.5)
    weights = np.abs(drawn.astype(float) - GREY).sum(axis=-1)
    assert np.average(np.arange(200), weights=weights.sum(axis=0)) == pytest.approx(100, abs=0.2)
    assert np.average(np.arange(100), weights=weights.sum(axis=1)) == pytest.approx(50, abs=0.2)


def test_does_not_write_to_the_image():
    image = GREY.copy()
    drawing.draw_pose(image, np.zeros([2, 2]), np.array([2, 2]), ARM)
    np.testing.assert_array_equal(image, GREY)


def test_occluded_joints_are_hollow_and_their_limbs_dashed():
    solid = draw_arm([[40, 50], [160, 50]], [2, 2])
    drawn = draw_arm([[40, 50], [160, 50]], [1, 2])
    np.testing.assert_array_equal(drawn[50, 40], GREY[50, 40])  # The hole.
    np.testing.assert_array_equal(drawn[50, 160], solid[50, 160])
    row = (drawn == drawing.SIDE_COLORS["right"]).all(axis=-1)[50, 50:150]
    assert 0.3 < row.mean() < 0.9
    assert np.count_nonzero(np.diff(row.astype(int))) > 8  # Several dashes.


@pytest.mark.parametrize("joint", [[np.nan, 50], [np.inf, 50]])
def test_non_finite_joint_is_not_drawn(joint):
    drawn = draw_arm([[40, 50], joint], [2, 2])
    expected = draw_arm([[40, 50], [160, 50]], [2, 0])
    np.testing.assert_array_equal(drawn, expected)
    assert changed_pixels(drawn).sum() < 120  # One joint, no limb.


def test_nothing_labelled_changes_nothing():
    np.testing.assert_array_equal(draw_arm([[40, 50], [160, 50]], [0, 0]), GREY)


def test_joints_outside_are_clipped():
    drawn = draw_arm([[100, 50], [1e30, 50]], [2, 2])
    assert changed_pixels(drawn)[50, 105:].all() and not changed_pixels(drawn)[:, :90].any()


def test_min_size_enlarges_and_keeps_places():
    drawn = draw_arm([[40, 50], [160, 50]], [2, 2], min_size=800)
    assert drawn.shape == (400, 800, 3)
    rows, columns = np.nonzero(changed_pixels(drawn, 128))
    # Enlarged 4 times, pixel centres are measured from the corner: 4 * (x + 0.5).
    assert (columns.min() + columns.max() + 1) / 2 == pytest.approx(4 * 100.5, abs=1)
    assert (rows.min() + rows.max() + 1) / 2 == pytest.approx(4 * 50.5, abs=1)
    assert draw_arm([[40, 50], [160, 50]], [2, 2], min_size=50).shape == GREY.shape


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1)])
def test_tiny_and_thin_pictures(shape):
    image = np.zeros((*shape, 3), np.uint8)
    joints = np.random.default_rng(0).uniform(-1, 4, size=(14, 2))
    drawn = drawing.draw_pose(image, joints, np.full(14, 2), LSP_SKELETON, min_size=64)
    assert drawn.shape[:2] == tuple(max(1, round(n * max(1, 64 / max(shape)))) for n in shape)


def test_sides():
    assert drawing.joint_side("right_hip") == "right"
    assert drawing.joint_side("left_hip") == "left"
    assert drawing.joint_side("neck") == "centre"


@pytest.mark.parametrize(
    ("image", "joints", "visibility", "argument"),
    [
        (GREY.astype(np.float32), np.zeros([2, 2]), np.zeros(2), "`image`"),
        (GREY[..., :1], np.zeros([2, 2]), np.zeros(2), "`image`"),
        (GREY[:0], np.zeros([2, 2]), np.zeros(2), "`image`"),
        (GREY, np.zeros([3, 2]), np.zeros(2), "`joints`"),
        (GREY, np.zeros([2, 2]), np.zeros(3), "`visibility`"),
    ],
)
def test_errors_name_the_argument(image, joints, visibility, argument):
    with pytest.raises(ValueError, match=argument):
        drawing.draw_pose(image, joints, visibility, ARM)


def test_grid_places_each_image():
    images = [np.full((h, w, 3), v, np.uint8) for h, w, v in [(4, 6, 1), (2, 2, 2), (4, 4, 3)]]
    page = drawing.draw_grid(images, columns=2, gap=3)
    assert page.shape == (4 + 3 + 4, 6 + 3 + 2, 3)
    assert (page[0:4, 0:6] == 1).all()
    assert (page[1:3, 9:11] == 2).all()  # Centred in a row of height 4.
    assert (page[7:11, 1:5] == 3).all()  # Centred in a column of width 6.
    others = np.prod(page.shape[:2]) - 24 - 4 - 16
    assert (page == 255).all(axis=-1).sum() == others


def test_grid_errors():
    with pytest.raises(ValueError, match="`images`"):
        drawing.draw_grid([], columns=2)
    with pytest.raises(ValueError, match="`columns`"):
        drawing.draw_grid([GREY], columns=0)


def test_caption_adds_a_strip_of_text():
    captioned = drawing.draw_caption(GREY, "truth")
    strip = captioned[:-100]
    np.testing.assert_array_equal(captioned[-100:], GREY)
    assert 10 < strip.shape[0] < 40
    assert strip.min() < 80 and strip[:, :10].min() == 255  # Ink, in the middle.
    assert drawing.draw_caption(GREY[:, :1], "too long").shape[1] == 1


def test_comparison_shows_truth_left_and_prediction_right():
    visible = np.array([2, 2])
    low, high = np.array([[20.0, 80], [180, 80]]), np.array([[20.0, 20], [180, 20]])
    drawn = drawing.draw_comparison(GREY, low, visible, high, [0.9, 0.9], ARM, min_score=0.5)
    expected_left = drawing.draw_pose(GREY, low, visible, ARM)
    expected_right = drawing.draw_pose(GREY, high, visible, ARM)
    np.testing.assert_array_equal(drawn[-100:, :200], expected_left)
    np.testing.assert_array_equal(drawn[-100:, -200:], expected_right)
    unsure = drawing.draw_comparison(GREY, low, visible, high, [0.1, 0.9], ARM, min_score=0.5)
    np.testing.assert_array_equal(
        unsure[-100:, -200:], drawing.draw_pose(GREY, high, np.array([1, 2]), ARM)
    )
