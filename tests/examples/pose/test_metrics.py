import keras
import numpy as np
import pytest
import tensorflow as tf

from examples.pose import heatmaps, metrics

# Three joints; 0 and 1 are the reference, 10 pixels apart: the tolerance is 2 pixels.
TRUE = np.float32([[[0, 0], [10, 0], [5, 5]], [[0, 0], [0, 10], [5, 5]]])
ALL = np.ones((2, 3), bool)


def pck(predicted, true=TRUE, labelled=ALL, **kwargs):
    metric = metrics.PCK(3, (0, 1), **kwargs)
    metric.update_joints(tf.constant(predicted), tf.constant(true), tf.constant(labelled))
    return metric


def moved(*moves):
    """TRUE with (person, joint, dx, dy) moved."""
    joints = TRUE.copy()
    for person, joint, dx, dy in moves:
        joints[person, joint] += (dx, dy)
    return joints


def test_counts_by_hand():
    metric = pck(moved((0, 0, 1.9, 0), (0, 2, 0, 2.1), (1, 1, 1.5, 1.5)))
    np.testing.assert_allclose(metric.result(), 100 * 4 / 6, rtol=1e-6)
    np.testing.assert_allclose(metric.per_joint(), [100, 50, 50])


def test_an_error_of_the_tolerance_itself_is_a_miss():
    np.testing.assert_allclose(pck(moved((0, 0, 2, 0))).result(), 100 * 5 / 6, rtol=1e-6)


def test_the_tolerance_grows_with_the_person():
    true = TRUE * np.float32([1, 2])[:, None, None]
    predicted = true + np.float32([3, 0])  # Over 2 pixels, under 4.
    np.testing.assert_allclose(pck(predicted, true).result(), 50)
    np.testing.assert_allclose(pck(predicted, true, alpha=0.4).result(), 100)


def test_unlabelled_joints_do_not_count():
    labelled = ALL.copy()
    labelled[0, 2] = False
    metric = pck(moved((0, 2, 50, 0), (1, 2, 50, 0)), labelled=labelled)
    np.testing.assert_allclose(metric.result(), 100 * 4 / 5)
    np.testing.assert_allclose(metric.per_joint(), [100, 100, 0])


def test_people_without_reference_do_not_count():
    labelled = ALL.copy()
    labelled[0, 0] = False
    metric = pck(moved((0, 2, 50, 0)), labelled=labelled)
    np.testing.assert_allclose(metric.result(), 100)
    assert metric.counted.numpy().tolist() == [1, 1, 1]


def test_the_mean_is_over_joints_not_over_batches():
    metric = pck(moved((0, 0, 9, 9)))
    labelled = np.bool_([[True, True, False]])
    metric.update_joints(tf.constant(TRUE[:1]), tf.constant(TRUE[:1]), tf.constant(labelled))
    np.testing.assert_allclose(metric.result(), 100 * 7 / 8)
    metric.reset_state()
    assert np.isnan(metric.result())


def test_reads_heatmaps_like_decode():
    true = np.random.default_rng(0).uniform(8, 50, (4, 14, 2)).astype(np.float32)
    targets = np.concatenate([true, np.ones((4, 14, 1), np.float32)], axis=-1)
    logits = tf.math.log(heatmaps.gaussian_heatmaps(tf.constant(targets), 32, 32) + 1e-9)
    metric = metrics.PCK(14, (9, 2))
    metric.update_state(targets, logits)
    assert metric.result() == 100
    targets[:, :7, 2] = 0  # The right hip of the reference is among them.
    metric.reset_state()
    metric.update_state(targets, logits)
    assert np.isnan(metric.result())


def test_metric_survives_saving():
    metric = metrics.PCK(14, (9, 2), alpha=0.5)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert (again.num_joints, tuple(again.reference), again.alpha) == (14, (9, 2), 0.5)


@pytest.fixture
def result():
    labelled = ALL.copy()
    labelled[:, 2] = False
    return metrics.summary(pck(moved((0, 0, 9, 9)), labelled=labelled), ["left_x", "right_x", "y"])


def test_summary_holds_json_values(result):
    assert result == {
        "pck": 75.0,
        "pck_per_joint": {"left_x": 50.0, "right_x": 100.0, "y": None},
        "joints_counted": 4,
    }


def test_table_shows_every_joint(result, capsys):
    metrics.print_table(result, "a title")
    printed = capsys.readouterr().out
    rows = {
        line.split("│")[1].strip(): line.split("│")[2:5]
        for line in printed.splitlines()
        if line.startswith("│")
    }
    rows = {name: [cell.strip() for cell in cells] for name, cells in rows.items()}
    assert "a title" in printed
    assert rows == {
        "x": ["50.0", "100.0", "75.0"],
        "y": ["", "", "-"],
        "all joints": ["", "", "75.0"],
    }
