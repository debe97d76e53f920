"""Tests of heatmaps: targets, loss, decoding and the flip test."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from examples.pose import models
from examples.pose.datasets.skeletons import LSP_SKELETON
from examples.pose.models import heatmaps

ORDER = LSP_SKELETON.flip_order


def random_joints(count, size, seed=0):
    joints = np.random.default_rng(seed).uniform(6, size - 7, (count, 14, 2))
    return joints.astype(np.float32)


def with_weights(joints, weights=1.0):
    weights = np.broadcast_to(np.float32(weights), joints.shape[:-1])
    return np.concatenate([joints, weights[..., None]], axis=-1)


def perfect_logits(joints, height=48, width=48):
    maps = heatmaps.gaussian_heatmaps(tf.constant(with_weights(joints)), height, width)
    return tf.math.log(maps + 1e-12)


def test_cells_are_centred_between_their_two_pixels():
    assert heatmaps.to_pixels(0) == 0.5  # Between pixels 0 and 1.
    assert heatmaps.to_cells(heatmaps.to_pixels(3.25)) == 3.25


def test_decode_finds_joints_within_a_quarter_cell():
    joints = random_joints(20, 96)
    decoded, scores = heatmaps.decode(perfect_logits(joints))
    errors = np.abs(decoded.numpy() - joints)
    # Without the refinement the largest error is a whole pixel, half a cell.
    assert errors.max() <= 0.5 + 1e-3
    assert np.abs((decoded.numpy() - joints).mean()) < 0.05
    assert scores.numpy().min() > 0.95 and scores.numpy().max() <= 1


def test_decode_does_not_swap_height_and_width():
    joints = np.float32([[[9.5, 60.5]]])
    decoded, _ = heatmaps.decode(perfect_logits(joints, height=40, width=16))
    np.testing.assert_allclose(decoded, joints, atol=0.5)


@pytest.mark.parametrize("cell", [(0, 0), (0, 47), (47, 0), (47, 47), (20, 0)])
def test_decode_at_the_border(cell):
    logits = np.full((1, 48, 48, 1), -5.0, np.float32)
    logits[(0, *cell, 0)] = 5
    joints, scores = heatmaps.decode(logits)
    np.testing.assert_array_equal(joints[0, 0], heatmaps.to_pixels(np.array(cell[::-1])))
    assert 0 < scores.numpy()[0, 0] <= 1


def test_score_of_an_undecided_map_is_low():
    _, scores = heatmaps.decode(np.zeros((1, 48, 48, 2), np.float32))
    assert scores.numpy().max() < 0.05


def test_decode_of_an_empty_batch():
    joints, scores = heatmaps.decode(tf.zeros((0, 48, 48, 14)))
    assert joints.shape == (0, 14, 2) and scores.shape == (0, 14)


def test_loss_is_cross_entropy_with_the_heatmaps():
    joints = random_joints(3, 32)
    weights = np.ones((3, 14), np.float32)
    weights[0, 2] = weights[1, 5] = 0
    targets = with_weights(joints, weights)
    logits = np.random.default_rng(1).normal(size=(3, 16, 16, 14)).astype(np.float32)
    maps = heatmaps.gaussian_heatmaps(tf.constant(targets), 16, 16, sigma=1.5).numpy()
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), weights, rtol=1e-5)
    log_probability = logits - np.log(np.exp(logits).sum(axis=(1, 2), keepdims=True))
    expected = -(maps * log_probability).sum() / weights.sum()
    loss = heatmaps.HeatmapCrossEntropy(sigma=1.5)
    np.testing.assert_allclose(loss(targets, logits), expected, rtol=1e-5)


def test_masked_joints_have_no_loss_and_no_gradient():
    targets = with_weights(random_joints(2, 32))
    targets[:, 3, 2] = 0
    elsewhere = targets.copy()
    elsewhere[:, 3, :2] = [-500, 1e6]  # The position of an unlabelled joint is arbitrary.
    logits = tf.random.stateless_normal((2, 16, 16, 14), (0, 1))
    loss = heatmaps.HeatmapCrossEntropy()
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = loss(elsewhere, logits)
    gradient = tape.gradient(value, logits).numpy()
    np.testing.assert_allclose(value, loss(targets, logits), rtol=1e-6)
    assert np.all(gradient[..., 3] == 0)
    assert np.all(np.abs(gradient[..., [2, 4]]).sum(axis=(1, 2)) > 0)


def test_loss_without_any_labelled_joint_is_zero():
    loss = heatmaps.HeatmapCrossEntropy()
    assert loss(np.zeros((2, 14, 3), np.float32), tf.ones((2, 16, 16, 14))) == 0


def test_loss_is_smallest_for_perfect_logits():
    joints = random_joints(2, 96)
    loss = heatmaps.HeatmapCrossEntropy()
    best = loss(with_weights(joints), perfect_logits(joints))
    assert best < loss(with_weights(joints), perfect_logits(joints + 2))
    # A Gaussian's own entropy is the least possible cross-entropy with it.
    np.testing.assert_allclose(best, np.log(2 * np.pi * np.e * 1.5**2), rtol=3e-3)


def test_loss_survives_saving():
    loss = heatmaps.HeatmapCrossEntropy(sigma=2.0)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert again.sigma == 2.0


def test_flip_heatmaps_mirrors_and_swaps_sides():
    joints = random_joints(2, 96)
    mirrored = joints[:, list(ORDER)]
    mirrored[..., 0] = 95 - mirrored[..., 0]
    back = heatmaps.flip_heatmaps(perfect_logits(mirrored), ORDER)
    np.testing.assert_allclose(back, perfect_logits(joints), atol=1e-2)


def test_flip_test_is_the_mean_over_both_images():
    class LeftHalf(keras.Model):
        """Returns the image's red channel as every joint's heatmap."""

        def call(self, images, training=None):
            return tf.repeat(images[:, ::2, ::2, :1], 14, axis=-1)

    image = np.zeros((1, 8, 8, 3), np.float32)
    image[:, :, :2] = 1
    plain = heatmaps.predict_heatmaps(LeftHalf(), image)
    merged = heatmaps.predict_heatmaps(LeftHalf(), image, ORDER)
    # A map mirrored twice is the same, up to half a pixel because of the subsampling.
    assert plain[0, 0, 0, 0] == 1 and merged[0, 0, 0, 0] == 1
    assert plain.shape == merged.shape == (1, 4, 4, 14)
    one_sided = tf.one_hot([[0]], 14)[:, None] * tf.ones((1, 4, 4, 1))
    merged = heatmaps.predict_heatmaps(lambda x: one_sided, image, ORDER)
    np.testing.assert_allclose(merged[0, 0, 0], [0.5 * (j in (0, 5)) for j in range(14)])


def gaussian_logits(joints, size=48, sigma=1.5):
    """An independent float64 formula for log heatmaps of joints `[N, J, 2]` in pixels."""
    cells = np.arange(size) * 2 + 0.5  # Centres of cells in pixels.
    squares = [(cells - joints[..., axis, None].astype(float)) ** 2 / 4 for axis in (0, 1)]
    logits = -(squares[1][..., :, None] + squares[0][..., None, :]) / (2 * sigma**2)
    return np.moveaxis(logits, 1, -1).astype(np.float32)


@pytest.mark.parametrize("sigma", [1.5, 2.5])
def test_dark_finds_the_top_of_a_gaussian(sigma):
    joints = np.random.default_rng(0).uniform(16, 78, (20, 14, 2)).astype(np.float32)
    decoded, _ = heatmaps.decode(gaussian_logits(joints, sigma=sigma), "dark")
    np.testing.assert_allclose(decoded, joints, atol=0.02)


def test_accuracy_of_each_decoding():
    joints = np.random.default_rng(1).uniform(16, 78, (40, 14, 2)).astype(np.float32)
    logits = gaussian_logits(joints)
    errors = {}
    for decoding in models.DECODINGS:
        decoded, scores = heatmaps.decode(logits, decoding)
        errors[decoding] = np.abs(decoded - joints)
        np.testing.assert_allclose(scores, heatmaps.decode(logits)[1], rtol=1e-6)
    # A cell is two pixels wide. A uniformly random position is on average half a pixel from the
    # middle of its cell ("peak"), and a quarter pixel from the middle of its half cell ("quarter").
    assert errors["peak"].max() <= 1 + 1e-3 and errors["quarter"].max() <= 0.5 + 1e-3
    np.testing.assert_allclose(errors["peak"].mean(), 0.5, atol=0.05)
    np.testing.assert_allclose(errors["quarter"].mean(), 0.25, atol=0.03)
    assert errors["dark"].mean() < 0.01


def test_dark_is_robust_to_noise():
    joints = np.random.default_rng(2).uniform(16, 78, (40, 14, 2)).astype(np.float32)
    logits = gaussian_logits(joints, sigma=2.5)
    noisy = logits + np.random.default_rng(3).normal(0, 0.1, logits.shape).astype(np.float32)
    errors = {
        decoding: np.linalg.norm(heatmaps.decode(noisy, decoding)[0] - joints, axis=-1).mean()
        for decoding in models.DECODINGS
    }
    assert errors["dark"] < 0.6 * errors["quarter"] and errors["dark"] < 0.6 * errors["peak"]


def test_dark_matches_newton_step_in_float64():
    """The reference is a Newton step on the logarithm of the blurred probabilities."""
    logits = np.random.default_rng(4).normal(size=(1, 12, 15, 1))
    logits += (
        8
        * np.exp(-((np.arange(12)[:, None] - 5) ** 2 + (np.arange(15) - 7) ** 2) / 6)[
            None, ..., None
        ]
    )
    p = np.exp(logits[0, ..., 0])
    p /= p.sum()
    offsets = np.arange(-5, 6)
    kernel = np.exp(-(offsets**2) / (2 * 1.5**2))
    kernel /= kernel.sum()
    padded = np.pad(p, 5)
    blurred = sum(
        kernel[i] * kernel[j] * padded[i : i + 12, j : j + 15] for i in range(11) for j in range(11)
    )
    f = np.log(blurred)
    y, x = np.unravel_index(p.argmax(), p.shape)
    gradient = [(f[y, x + 1] - f[y, x - 1]) / 2, (f[y + 1, x] - f[y - 1, x]) / 2]
    dxy = (f[y + 1, x + 1] - f[y + 1, x - 1] - f[y - 1, x + 1] + f[y - 1, x - 1]) / 4
    hessian = [
        [f[y, x + 1] - 2 * f[y, x] + f[y, x - 1], dxy],
        [dxy, f[y + 1, x] - 2 * f[y, x] + f[y - 1, x]],
    ]
    expected = [x, y] - np.linalg.solve(hessian, gradient)
    assert np.abs(expected - [x, y]).max() < 1  # Otherwise the step would be clipped.
    decoded, _ = heatmaps.decode(logits, "dark")
    np.testing.assert_allclose(decoded[0, 0], expected * 2 + 0.5, atol=1e-3)


def quarter_reference(logits):
    """An independent "quarter" decoding of one map, in loops. Returns (x, y) in pixels."""
    height, width = logits.shape
    best = max((logits[i, j], -i, -j) for i in range(height) for j in range(width))
    peak = {"y": -best[1], "x": -best[2]}
    refined = {}
    for axis, size in (("y", height), ("x", width)):
        refined[axis] = float(peak[axis])
        if 0 < peak[axis] < size - 1:
            before, after = ({**peak, axis: peak[axis] + step} for step in (-1, 1))
            before, after = (logits[cell["y"], cell["x"]] for cell in (before, after))
            refined[axis] += 0.25 * (int(after > before) - int(before > after))
    # A cell is two pixels wide, and the first pixel's centre is at 0.
    return [2 * (refined[axis] + 0.5) - 0.5 for axis in ("x", "y")]


@pytest.mark.parametrize("shape", [(6, 9), (2, 2), (1, 8), (8, 1), (1, 1), (3, 2)])
def test_quarter_matches_reference_for_peaks_anywhere(shape):
    random = np.random.default_rng(5)
    cells = np.arange(shape[0] * shape[1]).reshape(shape)
    maps = [np.where(cells == i, 5.0, -5) for i in range(cells.size)]
    maps += list(random.normal(-20, 3, (60, *shape)))  # All negative.
    maps += list(random.integers(0, 3, (60, *shape)))  # Ties and plateaus.
    maps += [np.where(random.random(shape) < 0.5, -np.inf, each) for each in maps[-20:]]
    maps = np.array([each for each in maps if np.isfinite(np.max(each))], np.float32)
    joints, scores = heatmaps.decode(maps[..., np.newaxis])
    np.testing.assert_allclose(joints[:, 0], [quarter_reference(each) for each in maps])
    assert np.all(scores.numpy() > 0) and np.all(scores.numpy() <= 1)


@pytest.mark.parametrize("sigma", [1.5, 2.5])
@pytest.mark.parametrize(("decoding", "inner"), [("peak", 1.0), ("quarter", 0.5), ("dark", 0.3)])
def test_errors_at_and_near_the_border(decoding, inner, sigma):
    """Peaks at and near the border are not moved outwards, and not beyond their cell."""
    size = 20
    steps = np.concatenate([np.linspace(-0.5, 9, 40), np.linspace(30.5, 39.5, 40)])
    joints = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 1, 2).astype(np.float32)
    decoded, _ = heatmaps.decode(gaussian_logits(joints, size, sigma), decoding)
    errors = np.abs(decoded - joints)
    at_border = (joints < 1.5) | (joints > 2 * size - 2.5)
    assert errors[at_border].max() <= 1 + 1e-3
    assert errors[~at_border].max() <= inner + 1e-3
    # A joint in the middle of a border cell (pixels 0 and 1) is found exactly.
    corners = np.array([[[0.5, 0.5]], [[0.5, 38.5]], [[38.5, 38.5]], [[38.5, 20.5]]], np.float32)
    decoded, _ = heatmaps.decode(gaussian_logits(corners, size, sigma), decoding)
    np.testing.assert_allclose(decoded, corners, atol=1e-4)


def test_dark_along_the_border_is_a_parabola_in_one_variable():
    joints = np.array([[[0.7, 21.3]], [[39.2, 17.8]], [[21.3, 0.2]], [[12.9, 39.0]]], np.float32)
    decoded, _ = heatmaps.decode(gaussian_logits(joints, 20), "dark")
    along = np.array([1, 1, 0, 0])
    indices = np.arange(4)
    np.testing.assert_allclose(
        decoded.numpy()[indices, 0, along], joints[indices, 0, along], atol=1e-3
    )


@pytest.mark.parametrize("decoding", models.DECODINGS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_maps_have_score_zero(decoding, bad):
    """Their joints are finite. Other maps in the batch are not affected."""
    random = np.random.default_rng(6)
    good = random.normal(size=(1, 9, 9, 1)).astype(np.float32)
    for spoilt in (np.full_like(good, bad), np.where(random.random(good.shape) < 0.2, bad, good)):
        joints, scores = heatmaps.decode(np.concatenate([good, spoilt], axis=-1), decoding)
        assert np.isfinite(joints).all() and np.isfinite(scores).all()
        expected = heatmaps.decode(good, decoding)
        np.testing.assert_allclose(joints[:, 0], expected[0][:, 0])
        np.testing.assert_allclose(scores[:, 0], expected[1][:, 0])
        masked = bad == -np.inf and np.isfinite(np.max(spoilt))
        assert (scores[0, 1] > 0) == masked


@pytest.mark.parametrize("cell", [(0, 0), (0, 47), (47, 20), (20, 0)])
def test_dark_does_not_move_a_peak_at_the_border(cell):
    logits = np.full((1, 48, 48, 1), -5.0, np.float32)
    logits[(0, *cell, 0)] = 5
    joints, _ = heatmaps.decode(logits, "dark")
    np.testing.assert_array_equal(joints[0, 0], heatmaps.to_pixels(np.array(cell[::-1])))


def test_dark_does_not_move_a_peak_of_a_map_that_is_not_concave():
    ridge = np.zeros((1, 9, 9, 1), np.float32)
    for logits in (ridge, np.full_like(ridge, -np.inf)):
        joints, _ = heatmaps.decode(logits, "dark")
        assert np.isfinite(joints).all()
    assert heatmaps.decode(tf.zeros((0, 48, 48, 14)), "dark")[0].shape == (0, 14, 2)


def test_unknown_decoding_raises():
    with pytest.raises(ValueError, match=r"`decoding` must be one of .*'dark'.*, got 'soft'"):
        heatmaps.decode(np.zeros((1, 4, 4, 1)), "soft")
