"""`BoxConstraint` keeps valid boxes as they are and repairs invalid ones."""

import keras
import numpy as np
import pytest

from tests import tolerances
from tests.backend import dtype_name, tensor, to_float64
from tests.boxes import boxes_around_pixel
from tests.images import images
from tf_boxconv import constraints
from tf_boxconv.constraints import BoxConstraint


def project(boxes, **kwargs):
    boxes = np.asarray(boxes, np.float32)
    return keras.ops.convert_to_numpy(BoxConstraint(**kwargs)(boxes))


def test_valid_boxes_come_back_bit_for_bit():
    boxes = np.float32(boxes_around_pixel(7, 5, reach=20))
    np.testing.assert_array_equal(project(boxes, max_size=20), boxes)


@pytest.mark.parametrize(
    ("box", "wanted"),
    [
        ([2, 0, 2.5, 3], [1.75, 0, 2.75, 3]),  # narrow: wider around the same centre
        ([4, 4, 4, 8], [3.5, 4, 4.5, 8]),  # empty
        ([6, 3, 2, -1], [3.5, 0.5, 4.5, 1.5]),  # inverted along both axes
        ([-90, -3, 90, 3], [-10, -3, 10, 3]),  # too large
        ([40, 0, 60, 2], [9, 0, 10, 2]),  # far below
        ([-60, 0, -40, 2], [-10, 0, -9, 2]),  # far above
        ([9.9, 0, 10.1, 2], [9, 0, 10, 2]),  # narrow at the limit: moved in
        ([0, 50, 2, 90], [0, 19, 2, 20]),  # axes have their own limits
        ([-np.inf, 0, np.inf, 2], [-10, 0, 10, 2]),
        ([np.inf, 0, np.inf, 2], [9, 0, 10, 2]),
        ([1e30, -1e30, 1e30, 1e30], [9, -20, 10, 20]),
    ],
)
def test_invalid_boxes_are_repaired(box, wanted):
    np.testing.assert_allclose(
        project(box, max_size=(10, 20)), wanted, **tolerances.VALUES["float32"]
    )


def test_float64_stays_float64():
    box = np.array([[0.1, -0.7, 5.3, 2.9], [0.3, 0.1, 0.4, 77.7]])
    got = BoxConstraint(max_size=10)(tensor(box))
    assert dtype_name(got) == "float64"
    wanted = [box[0], [0.35 - 0.5, 0.1, 0.35 + 0.5, 10]]
    np.testing.assert_allclose(to_float64(got), wanted, **tolerances.VALUES["float64"])


def test_nan_stays_nan_and_does_not_spread_to_other_axes_or_boxes():
    boxes = [[np.nan, 0, 1, 2], [0, 0, 0, 0]]
    got = project(boxes, max_size=10)
    assert np.isnan(got[0, 0])
    np.testing.assert_array_equal(got[0, 1:], [0, 1, 2])
    np.testing.assert_array_equal(got[1], [-0.5, -0.5, 0.5, 0.5])


@pytest.mark.parametrize("max_size", [None, 1, 13, (5, 200)])
@pytest.mark.parametrize("spread", [0.1, 5, 1000])
def test_the_result_is_valid_and_projecting_it_again_changes_nothing(max_size, spread):
    boxes = spread * images((200, 3, 4), seed=1)
    once = project(boxes, max_size=max_size)
    limits = (2**22, 2**22) if max_size is None else np.broadcast_to(max_size, 2)
    size = once[..., 2:] - once[..., :2]
    assert np.all(size >= 1 - 1e-6 * np.maximum(1, np.abs(once[..., 2:])))
    assert np.all(np.abs(once) <= np.tile(limits, 2) * (1 + 1e-6))
    np.testing.assert_allclose(
        project(once, max_size=max_size), once, **tolerances.VALUES["float32"]
    )


def test_min_size():
    got = project([0, 0, 1, 10], max_size=20, min_size=3)
    np.testing.assert_allclose(got, [-1, 0, 2, 10])


def test_min_size_may_exceed_the_plane():
    constraint = BoxConstraint(min_size=8).with_max_size((2, 2))
    got = keras.ops.convert_to_numpy(constraint(np.zeros([1, 1, 4], np.float32)))
    np.testing.assert_allclose(got[0, 0], [-4, -4, 4, 4])


def test_with_max_size_returns_a_copy_unless_there_is_a_max_size():
    without = BoxConstraint(min_size=2)
    copy = without.with_max_size((3, 4))
    assert without.max_size is None
    assert copy.max_size == (3, 4)
    assert copy.min_size == 2
    assert copy.with_max_size((8, 8)) is copy


def test_serialization_round_trip():
    constraint = BoxConstraint(max_size=(3, 4), min_size=0.5)
    config = keras.constraints.serialize(constraint)
    revived = keras.constraints.deserialize(config)
    assert isinstance(revived, BoxConstraint)
    assert revived.get_config() == constraint.get_config()
    assert config["registered_name"] == "tf_boxconv>BoxConstraint"


def test_get_accepts_names_and_none():
    assert isinstance(constraints.get("box_constraint"), BoxConstraint)
    assert isinstance(constraints.get("non_neg"), keras.constraints.NonNeg)
    assert constraints.get(None) is None


@pytest.mark.parametrize("max_size", [0, -1, 2.5, (1, 2, 3), (4, 0), "12", float("nan"), (None, 4)])
def test_bad_max_size_is_refused(max_size):
    with pytest.raises(ValueError, match=r"`max_size` must be .*Received: max_size="):
        BoxConstraint(max_size=max_size)


@pytest.mark.parametrize("min_size", [0, -1, float("nan"), float("inf"), "1", None, 11])
def test_bad_min_size_is_refused(min_size):
    with pytest.raises(ValueError, match=r"`min_size` must be .*Received: min_size="):
        BoxConstraint(max_size=10, min_size=min_size)
