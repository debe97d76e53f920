import keras
import numpy as np
import pytest
import tensorflow as tf

from examples.pose import heatmaps
from examples.pose.datasets.pose_features import LSP_SKELETON

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


def test_cells_are_centred_in_their_pixels():
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


def test_decode_tells_height_from_width():
    joints = np.float32([[[9.5, 60.5]]])
    decoded, _ = heatmaps.decode(perfect_logits(joints, height=40, width=16))
    np.testing.assert_allclose(decoded, joints, atol=0.5)


@pytest.mark.parametrize("cell", [(0, 0), (0, 47), (47, 0), (47, 47), (20, 0)])
def test_decode_at_the_border(cell):
    logits = np.full((1, 48, 48, 1), -5.0, np.float32)
    logits[(0, *cell, 0)] = 5
    joints, scores = heatmaps.decode(logits)
    expected = heatmaps.to_pixels(np.array(cell[::-1]))
    # The border cell stands for the one beyond it, so that a lone peak leans outwards.
    assert np.abs(joints.numpy()[0, 0] - expected).max() <= 0.5
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
    elsewhere[:, 3, :2] = [-500, 1e6]  # An unlabelled joint may stand anywhere.
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
        """Answers with the image's red channel as every joint's map, whatever the side."""

        def call(self, images, training=None):
            return tf.repeat(images[:, ::2, ::2, :1], 14, axis=-1)

    image = np.zeros((1, 8, 8, 3), np.float32)
    image[:, :, :2] = 1
    plain = heatmaps.predict_heatmaps(LeftHalf(), image)
    merged = heatmaps.predict_heatmaps(LeftHalf(), image, ORDER)
    # Mirrored twice the map is the same, up to the half pixel that subsampling is off by.
    assert plain[0, 0, 0, 0] == 1 and merged[0, 0, 0, 0] == 1
    assert plain.shape == merged.shape == (1, 4, 4, 14)
    one_sided = tf.one_hot([[0]], 14)[:, None] * tf.ones((1, 4, 4, 1))
    merged = heatmaps.predict_heatmaps(lambda x, training: one_sided, image, ORDER)
    np.testing.assert_allclose(merged[0, 0, 0], [0.5 * (j in (0, 5)) for j in range(14)])
