"""Tests of `PCK`, `PCKh` and their tables, on three joints with errors chosen by hand."""

import itertools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from examples.pose.evaluation import metrics
from examples.pose.models import heatmaps

# Two people with three joints. Joints 0 and 1, the reference, are 10 pixels apart, so that the
# tolerance is 2 pixels.
TRUE = np.float32([[[0, 0], [10, 0], [5, 5]], [[0, 0], [0, 10], [5, 5]]])
ALL = np.ones((2, 3), bool)


def pck(predicted, true=TRUE, labelled=ALL, **kwargs):
    metric = metrics.PCK(3, (0, 1), **kwargs)
    metric.update_joints(tf.constant(predicted), tf.constant(true), tf.constant(labelled))
    return metric


def moved(*moves):
    """TRUE with joints moved: each of `moves` is (person, joint, dx, dy)."""
    joints = TRUE.copy()
    for person, joint, dx, dy in moves:
        joints[person, joint] += (dx, dy)
    return joints


def test_counts_by_hand():
    metric = pck(moved((0, 0, 1.9, 0), (0, 2, 0, 2.1), (1, 1, 1.5, 1.5)))
    np.testing.assert_allclose(metric.result(), 100 * 4 / 6, rtol=1e-6)
    np.testing.assert_allclose(metric.per_joint(), [100, 50, 50])


def test_error_equal_to_the_tolerance_is_not_found():
    np.testing.assert_allclose(pck(moved((0, 0, 2, 0))).result(), 100 * 5 / 6, rtol=1e-6)


def test_tolerance_is_proportional_to_the_person():
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


def test_people_without_reference_joints_do_not_count():
    labelled = ALL.copy()
    labelled[0, 0] = False
    metric = pck(moved((0, 2, 50, 0)), labelled=labelled)
    np.testing.assert_allclose(metric.result(), 100)
    assert metric.counted.numpy().tolist() == [1, 1, 1]


def test_mean_is_over_joints_not_over_batches():
    metric = pck(moved((0, 0, 9, 9)))
    labelled = np.bool_([[True, True, False]])
    metric.update_joints(tf.constant(TRUE[:1]), tf.constant(TRUE[:1]), tf.constant(labelled))
    np.testing.assert_allclose(metric.result(), 100 * 7 / 8)
    metric.reset_state()
    assert np.isnan(metric.result())


def test_update_state_decodes_heatmaps():
    true = np.random.default_rng(0).uniform(8, 50, (4, 14, 2)).astype(np.float32)
    targets = np.concatenate([true, np.ones((4, 14, 1), np.float32)], axis=-1)
    logits = tf.math.log(heatmaps.gaussian_heatmaps(tf.constant(targets), 32, 32) + 1e-9)
    metric = metrics.PCK(14, (9, 2))
    metric.update_state(targets, logits)
    assert metric.result() == 100
    targets[:, :7, 2] = 0  # Includes the right hip, a reference joint.
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
    curve = result.pop("pck_curve")
    assert json.loads(json.dumps(curve)) == curve
    assert curve["thresholds"] == pytest.approx([0.01 * k for k in range(21)])
    # Three of the four joints that count are exact. At tolerance 0, an error of 0 is not below it.
    assert curve["pck"] == [0.0] + 20 * [75.0]
    assert result == {
        "pck": 75.0,
        "pck_per_joint": {"left_x": 50.0, "right_x": 100.0, "y": None},
        "pck_auc": round(75 * 39 / 40, 2),
        "pck_joints_counted": 4,
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
        "area under the curve": ["", "", "73.1"],
    }


def test_curve_and_area_by_hand():
    # Errors of 0.05, 0.105 and 0.155 of the reference length 10, and one beyond all tolerances.
    errors = [(0, 0, 0.5, 0), (0, 1, 0, 1.05), (0, 2, -1.55, 0), (1, 0, 5, 0)]
    labelled = ALL.copy()
    labelled[1, 2] = False
    metric = pck(moved(*errors), labelled=labelled)  # Joint 1 of the second person is exact.
    curve = metric.curve().numpy()
    # At each hundredth: how many of the five joints have a smaller error.
    expected = [0] + [1] * 5 + [2] * 5 + [3] * 5 + [4] * 5
    # In float32, the error of 0.05 is not below the tolerance of 0.05.
    np.testing.assert_allclose(curve, 100 * np.array(expected) / 5, rtol=1e-6)
    trapezia = sum((a + b) / 2 for a, b in itertools.pairwise(expected)) / 20
    np.testing.assert_allclose(metric.auc(), 100 * trapezia / 5, rtol=1e-6)
    np.testing.assert_allclose(metric.result(), 80)


def test_auc_bounds():
    np.testing.assert_allclose(pck(TRUE + 50).auc(), 0)
    perfect = metrics.PCKh(3)
    perfect.update_joints(tf.constant(TRUE), tf.constant(TRUE), tf.constant(ALL), [10.0, 10.0])
    np.testing.assert_allclose(perfect.auc(), 100)
    assert len(perfect.thresholds) == 51 and perfect.thresholds[-1] == 0.5


def test_excluded_joints_appear_in_per_joint_only():
    metric = pck(moved((0, 2, 50, 0), (1, 2, 50, 0)), excluded=(2,))
    assert metric.result() == 100 and metric.auc() > 95
    np.testing.assert_allclose(metric.per_joint(), [100, 100, 0])


def test_head_size_is_sixty_percent_of_the_diagonal():
    boxes = np.float32([[10, 20, 13, 24], [0, 0, 0, 0]])
    np.testing.assert_allclose(metrics.head_sizes(boxes), [3.0, 0.0])


def test_pckh_by_hand():
    # Head boxes of 30 x 40 pixels and of 6 x 8: sizes 30 and 6, tolerances 15 and 3.
    sizes = metrics.head_sizes(np.float32([[0, 0, 30, 40], [5, 5, 11, 13]]))
    metric = metrics.PCKh(3)
    predicted = moved((0, 0, 15, 0), (0, 1, 15.1, 0), (1, 0, 2.9, 0), (1, 2, 0, 3.1))
    metric.update_joints(tf.constant(predicted), tf.constant(TRUE), tf.constant(ALL), sizes)
    # The joint 15 pixels off is found: an error equal to the tolerance counts as found.
    np.testing.assert_allclose(metric.per_joint(), [100, 50, 50])
    np.testing.assert_allclose(metric.result(), 100 * 4 / 6, rtol=1e-6)


def test_pckh_needs_a_head_and_labels():
    labelled = ALL.copy()
    labelled[0, 2] = False
    metric = metrics.PCKh(3)
    metric.update_joints(
        tf.constant(TRUE), tf.constant(TRUE), tf.constant(labelled), np.float32([5, 0])
    )
    assert metric.counted.numpy().tolist() == [1, 1, 0]
    nobody = metrics.PCKh(3)
    nobody.update_joints(tf.constant(TRUE), tf.constant(TRUE), tf.constant(ALL), [0.0, 0.0])
    assert np.isnan(nobody.result()) and np.isnan(nobody.auc())
    assert metrics.summary(nobody, ["a", "b", "c"])["pckh"] is None


def test_pckh_reads_heatmaps_and_survives_saving():
    true = np.random.default_rng(0).uniform(8, 50, (4, 14, 2)).astype(np.float32)
    targets = np.concatenate([true, np.ones((4, 14, 1), np.float32)], axis=-1)
    logits = tf.math.log(heatmaps.gaussian_heatmaps(tf.constant(targets), 32, 32) + 1e-9)
    metric = metrics.PCKh(14, alpha=0.5, excluded=(6, 7))
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert (again.num_joints, again.alpha, tuple(again.excluded)) == (14, 0.5, (6, 7))
    again.update_state((targets, np.full(4, 3.0, np.float32)), logits)
    assert again.result() == 100
    again.reset_state()
    again.update_state((targets, np.full(4, 1e-4, np.float32)), logits)
    assert again.result() == 0


def test_table_of_pckh(capsys):
    metric = metrics.PCKh(3)
    metric.update_joints(tf.constant(TRUE), tf.constant(TRUE), tf.constant(ALL), [5.0, 5.0])
    metrics.print_table(metrics.summary(metric, ["a", "b", "c"]), "a title", "pckh")
    assert "PCKh@0.5" in capsys.readouterr().out


METRICS = {
    "pck": lambda predicted, true, labelled: pck(predicted, true, labelled),
    "pckh": lambda predicted, true, labelled: pckh(predicted, true, labelled, [10.0, 10.0]),
}


def pckh(predicted, true, labelled, sizes):
    metric = metrics.PCKh(3)
    metric.update_joints(predicted, true, labelled, sizes)
    return metric


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("lost", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("axis", [0, 1, slice(None)])
def test_non_finite_prediction_is_not_found(name, lost, axis):
    predicted = TRUE.copy()
    predicted[0, 0, axis] = predicted[1, 2, axis] = lost
    metric = METRICS[name](predicted, TRUE, ALL)
    np.testing.assert_allclose(metric.per_joint(), [50, 100, 50])
    np.testing.assert_allclose(metric.result(), 100 * 4 / 6, rtol=1e-6)
    assert np.isfinite(metric.curve()).all() and np.isfinite(metric.auc())
    found, counted = metrics.found_joints(predicted, TRUE, ALL, (0, 1))
    assert np.count_nonzero(found) == 4 and np.all(counted)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_non_finite_label_raises_if_labelled(name, broken):
    true, labelled = TRUE.copy(), ALL.copy()
    true[0, 2, 1] = broken
    with pytest.raises(ValueError, match="`true` must be finite where `labelled`"):
        METRICS[name](TRUE, true, labelled)
    labelled[0, 2] = False
    assert METRICS[name](TRUE, true, labelled).result() == 100


def test_non_finite_label_raises_in_a_graph():
    metric = metrics.PCK(3, (0, 1))
    update = tf.function(metric.update_joints)
    update(TRUE, TRUE, ALL)
    assert metric.result() == 100
    with pytest.raises(tf.errors.InvalidArgumentError, match="`true` must be finite"):
        update(TRUE, TRUE * np.float32(np.nan), ALL)


def test_people_whose_reference_joints_coincide_do_not_count():
    true = TRUE.copy()
    true[0, 1] = true[0, 0]
    metric = pck(moved((1, 2, 50, 0)), true)
    assert metric.counted.numpy().tolist() == [1, 1, 1]
    np.testing.assert_allclose(metric.result(), 100 * 2 / 3, rtol=1e-6)
    _, counted = metrics.found_joints(true, true, ALL, (0, 1))
    assert counted.numpy().tolist() == [[False] * 3, [True] * 3]


@pytest.mark.parametrize("size", [0.0, -1.0, np.nan, np.inf])
def test_heads_of_unknown_size_do_not_count(size):
    metric = pckh(TRUE + 1e6, TRUE, ALL, [size, 5.0])
    assert metric.counted.numpy().tolist() == [1, 1, 1]
    assert metric.result() == 0 and metric.auc() == 0


def test_mismatched_shapes_raise():
    with pytest.raises(ValueError, match=r"`predicted` does not match.* \[1, 3\] and \[2, 3\]"):
        pck(TRUE[:1])
    with pytest.raises(ValueError, match="`labelled` does not match"):
        pck(TRUE, labelled=ALL[:1])
    with pytest.raises(ValueError, match=r"`sizes` must have shape \[2\], got \[1\]"):
        pckh(TRUE, TRUE, ALL, [1.0])


@pytest.mark.parametrize(
    "arguments,name",
    [
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": float("nan")}, "alpha"),
        ({"alpha": float("inf")}, "alpha"),
        ({"excluded": (3,)}, "excluded"),
        ({"reference": (0, 3)}, "reference"),
        ({"reference": (1, 1)}, "reference"),
        ({"reference": (-1, 0)}, "reference"),
    ],
)
def test_invalid_arguments_raise(arguments, name):
    with pytest.raises(ValueError, match=f"`{name}` must"):
        metrics.PCK(**{"num_joints": 3, "reference": (0, 1), **arguments})


@pytest.mark.parametrize("boxes,length", [([[0, 0, 50, 20]], 50), (None, 40)])
def test_without_reference_joints_errors_are_relative_to_the_box(boxes, length):
    """Without a box, too: then it is the smallest one around the labelled joints."""
    true = np.float32([[[10, 5], [50, 15], [np.nan, np.nan]]])
    labelled = np.array([[True, True, False]])
    metric = metrics.PCK(3, None)
    for error, expected in ((0.199, 100), (0.201, 50)):
        predicted = true + np.float32([error * length, 0]) * [[1], [0], [0]]
        metric.reset_state()
        metric.update_joints(predicted, true, labelled, boxes)
        assert float(metric.result()) == expected
        found, counted = metrics.found_joints(predicted, true, labelled, None, boxes=boxes)
        assert np.sum(counted) == 2 and np.sum(found) == expected / 50
