"""Tests of the drawn figures: possible poses, and labels that match the drawing."""

import io

import numpy as np
import pytest
from PIL import Image

from examples.pose.datasets.skeletons import LSP_SKELETON, NOT_LABELLED, OCCLUDED, VISIBLE
from examples.pose.datasets.stick_figures import body, figure
from examples.pose.datasets.stick_figures.canvas import Canvas, Capsule
from examples.pose.datasets.stick_figures.clothing import Outfit, plain

_RED = np.array([[1], [0], [0]], np.float32)
_BLUE = np.array([[0], [0], [1]], np.float32)
# All angles are zero: a body that stands straight with hanging arms.
_PAIRED = ("shoulder", "elbow", "hip", "knee", "ankle")
_AT_REST = {name: 0.0 for name in body.LIMITS if not name.startswith(_PAIRED)} | {
    f"{side}_{name}": 0.0 for name in body.LIMITS if name.startswith(_PAIRED) for side in body.SIDES
}
_FACING = np.diag([1.0, -1.0, -1.0])  # Left to the right, up to the top, forward to the camera.


def _pose(**angles):
    """Joints of a body that faces the camera and stands upright, except for these angles."""
    assert set(angles) <= set(_AT_REST)
    return body.pose_body(np.random.default_rng(0), _AT_REST | angles, _FACING).joints


def test_example_depends_on_seed_split_and_index_only():
    one = figure.draw_figure(1, "train", 7, 64)
    figure.draw_figure(1, "train", 8, 64)
    again = figure.draw_figure(1, "train", 7, 64)
    np.testing.assert_array_equal(one.image, again.image)
    np.testing.assert_array_equal(one.joints, again.joints)
    for other in [(2, "train", 7), (1, "test", 7), (1, "train", 8)]:
        assert (figure.draw_figure(*other, 64).joints != one.joints).any()


@pytest.mark.parametrize("size", [32, 128])
def test_features(size):
    for index in range(20):
        drawn = figure.draw_figure(0, "train", index, size)
        assert drawn.image.shape == (size, size, 3)
        assert drawn.image.dtype == np.uint8
        assert drawn.joints.shape == (14, 2)
        assert drawn.joints.dtype == np.float32
        assert drawn.visibility.dtype == np.uint8
        labelled = drawn.visibility != NOT_LABELLED
        assert (drawn.joints[~labelled] == 0).all()
        assert (drawn.joints[labelled] > -0.5).all()
        assert (drawn.joints[labelled] < size - 0.5).all()
        with Image.open(io.BytesIO(drawn.to_jpeg().getvalue())) as jpeg:
            assert (jpeg.format, jpeg.size) == ("JPEG", (size, size))


def test_most_joints_are_visible_and_some_are_not():
    visibility = np.stack([figure.draw_figure(0, "train", i, 48).visibility for i in range(150)])
    share = [(visibility == kind).mean() for kind in (NOT_LABELLED, OCCLUDED, VISIBLE)]
    assert 0.001 < share[0] < 0.05
    assert 0.05 < share[1] < 0.3
    assert share[2] > 0.6
    assert (visibility == OCCLUDED).any(0).all()  # Every joint is sometimes occluded.
    # Only extremities are cut off, never most of a figure.
    assert (visibility != NOT_LABELLED).sum(1).min() >= 6


def test_angles_stay_within_human_limits():
    rng = np.random.default_rng(0)
    for _ in range(500):
        angles = body.sample_angles(rng)
        assert set(angles) == set(_AT_REST)
        for name, degrees in angles.items():
            low, high = body.LIMITS[name.removeprefix("left_").removeprefix("right_")]
            assert low <= degrees <= high, (name, degrees)


def test_bones_keep_their_length_in_every_pose():
    """Bodies with the same proportions have the same bones in every pose."""
    rng = np.random.default_rng(0)
    bones = [
        (f"{side}_{a}", f"{side}_{b}")
        for side in body.SIDES
        for a, b in [("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist")]
    ] + [("neck", "head_top"), ("left_shoulder", "right_shoulder"), ("left_hip", "right_hip")]

    def lengths(posed):
        return [np.linalg.norm(posed.joints[a] - posed.joints[b]) for a, b in bones]

    upright = body.pose_body(np.random.default_rng(5), _AT_REST, _FACING)
    for _ in range(20):
        angles, view = body.sample_angles(rng), body.sample_view(rng)
        np.testing.assert_allclose(np.linalg.det(view), 1)  # A rotation, not a mirror.
        posed = body.pose_body(np.random.default_rng(5), angles, view)
        np.testing.assert_allclose(lengths(posed), lengths(upright), rtol=1e-9)


def test_upright_body_facing_the_camera():
    joints = _pose()
    assert set(joints) == set(LSP_SKELETON.joint_names)
    for name in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist"):
        left, right = joints[f"left_{name}"], joints[f"right_{name}"]
        assert left[0] > 0 > right[0]  # The left side of a facing body is on our right.
        np.testing.assert_allclose(left[1:], right[1:], atol=1e-12)
    heights = [joints[n][1] for n in ("head_top", "neck", "left_hip", "left_knee", "left_ankle")]
    assert heights == sorted(heights)


@pytest.mark.parametrize("side", body.SIDES)
def test_joints_bend_in_anatomical_directions(side):
    outward = 1 if side == "left" else -1
    at_rest = _pose()

    def moved(joint, **angles):
        return _pose(**{f"{side}_{k}": v for k, v in angles.items()})[joint] - at_rest[joint]

    # x: to the right, y: down, z: away from the camera, which the body faces.
    assert moved(f"{side}_wrist", shoulder_flexion=90)[2] < -0.2
    assert moved(f"{side}_wrist", shoulder_flexion=90)[1] < -0.2
    assert moved(f"{side}_wrist", shoulder_abduction=90)[0] * outward > 0.2
    assert moved(f"{side}_wrist", elbow=90)[2] < -0.1
    assert moved(f"{side}_ankle", hip_flexion=90)[2] < -0.3
    assert moved(f"{side}_ankle", hip_abduction=40)[0] * outward > 0.2
    assert moved(f"{side}_ankle", knee=90)[2] > 0.15
    assert _pose(spine_flexion=40)["head_top"][2] < at_rest["head_top"][2] - 0.05


def test_nearer_surface_covers_farther_one_in_any_order():
    near = Capsule(np.array([8.0, 8, -9]), np.array([8.0, 8, -9]), 4, 4, plain(_RED))
    far = Capsule(np.array([8.0, 8, 9]), np.array([8.0, 8, 9]), 6, 6, plain(_BLUE))
    for together in (True, False):
        for order in ([near, far], [far, near]):
            canvas = Canvas(16, np.array([0.0, 0, -1]))
            for capsules in [order] if together else [[capsule] for capsule in order]:
                canvas.draw(capsules)
            image = canvas.over(np.ones((3, 16, 16), np.float32))
            assert image[0, 8, 8] > 0.8 > 0.1 > image[2, 8, 8]
            assert image[2, 8, 13] > 0.3 > 0.1 > image[0, 8, 13]
            np.testing.assert_array_equal(image[:, 0, 0], 1)
            np.testing.assert_allclose(
                canvas.depth_at(np.array([[8.0, 8], [0, 0]])), [-13, np.inf], rtol=0.01
            )


def test_capsule_covers_exactly_the_samples_inside():
    start, end, radii = np.array([5.0, 4, 0]), np.array([12.0, 15, 0]), (2.0, 3.5)
    canvas = Canvas(20, np.array([0.0, 0, -1]))
    canvas.draw([Capsule(start, end, *radii, plain(_RED))])
    covered = np.isfinite(canvas.depth_at(np.argwhere(np.ones((20, 20)))[:, ::-1].astype(float)))
    y, x = np.mgrid[:20, :20] + 0.25  # The sample that `depth_at` reads for a pixel's centre.
    along = ((x - 5) * 7 + (y - 4) * 11) / (7**2 + 11**2)
    along = np.clip(along, 0, 1)
    distance = np.hypot(x - 5 - along * 7, y - 4 - along * 11)
    np.testing.assert_array_equal(covered.reshape(20, 20), distance < 2 + along * 1.5)


def test_surfaces_outside_the_canvas_are_clipped():
    canvas = Canvas(16, np.array([0.0, 0, -1]))
    canvas.draw([])
    for center in ([-50.0, 8, 0], [8, 300, 0], [-1, -1, 0], [1e6, 1e6, 0]):
        canvas.draw([Capsule(np.array(center), np.array(center), 3, 3, plain(_RED))])
        canvas.draw_panel(np.array(center), np.array([3.0, 2]), 30, _BLUE)
    assert canvas.over(np.zeros((3, 16, 16), np.float32))[0].max() > 0.2  # The corner's.


def test_joint_behind_an_object_is_occluded():
    canvas = Canvas(32, np.array([0.0, 0, -1]))
    joints = np.array([[8.0, 8, 0], [24, 24, 0], [8, 24, 0], [40, 8, 0]])
    canvas.draw([Capsule(j, j, 2, 2, plain(_RED)) for j in joints[:2]])
    canvas.draw_panel(np.array([24.0, 24, -50]), np.array([4.0, 4]), 20, np.hstack([_RED, _BLUE]))
    np.testing.assert_array_equal(
        figure._visibility(canvas, joints, skin_depth=3),
        [VISIBLE, OCCLUDED, VISIBLE, NOT_LABELLED],
    )


def test_both_sides_are_dressed_alike():
    """Augmentation mirrors images, so a mirrored figure must be one that could be drawn."""
    along = np.linspace(0, 1, 50)
    normals = np.random.default_rng(0).normal(size=(3, 50))
    normals /= np.linalg.norm(normals, axis=0)
    mirrored = normals * [[-1], [1], [1]]
    for seed in range(10):
        outfit = Outfit.sample(np.random.default_rng(seed))
        parts = body.pose_body(np.random.default_rng(0), _AT_REST, _FACING).parts
        sides = [[part for part in parts if part.side == side] for side in body.SIDES]
        assert len(sides[0]) == len(sides[1]) == 9
        for right, left in zip(*sides, strict=True):
            np.testing.assert_allclose(right.start, left.start * [-1, 1, 1], atol=1e-12)
            np.testing.assert_array_equal(
                outfit.paint(right)(along, normals), outfit.paint(left)(along, mirrored)
            )


def test_knee_pads_and_stripe_are_in_front_only():
    outfit = Outfit.sample(np.random.default_rng(0))
    parts = body.pose_body(np.random.default_rng(0), _AT_REST, _FACING).parts
    to_camera, away = np.array([[0.0], [0], [-1]]), np.array([[0.0], [0], [1]])
    for name, at in (("thigh", 1.0), ("shin", 0.0), ("breast", 0.5)):
        paints = [outfit.paint(part) for part in parts if part.name == name]
        assert paints
        for paint in paints:
            np.testing.assert_array_equal(paint(np.array([at]), to_camera), outfit.mark)
            assert (paint(np.array([at]), away) != outfit.mark).any()


def test_face_is_in_front():
    outfit = Outfit.sample(np.random.default_rng(0))
    head = next(
        part
        for part in body.pose_body(np.random.default_rng(0), _AT_REST, _FACING).parts
        if part.name == "head"
    )
    front = outfit.paint(head)(np.array([0.3]), np.array([[0.0], [0], [-1]]))
    back = outfit.paint(head)(np.array([0.3]), np.array([[0.0], [0], [1]]))
    np.testing.assert_array_equal(front, outfit.skin)
    np.testing.assert_array_equal(back, outfit.hair)
