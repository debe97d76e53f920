"""`RandomBoxes` draws valid boxes of all sizes. The same seed gives the same boxes."""

import keras
import numpy as np
import pytest

from tests import tolerances
from tests.backend import dtype_name, to_float64
from tests.boxes import are_valid
from tf_boxconv import initializers
from tf_boxconv.constraints import BoxConstraint
from tf_boxconv.initializers import RandomBoxes


def draw(shape=(64, 4, 4), **kwargs):
    return keras.ops.convert_to_numpy(RandomBoxes(**kwargs)(shape))


@pytest.mark.parametrize("max_size", [1, 2, 7, 64, (3, 500)])
def test_boxes_are_valid_and_within_half_the_plane(max_size):
    boxes = draw(max_size=max_size, seed=0)
    half = np.broadcast_to(max_size, 2) / 2
    assert boxes.shape == (64, 4, 4)
    assert boxes.dtype == np.float32
    assert are_valid(boxes, half)
    # The default constraint leaves them as they are.
    projected = keras.ops.convert_to_numpy(BoxConstraint(max_size=max_size)(boxes))
    np.testing.assert_allclose(projected, boxes, **tolerances.VALUES["float32"])


def test_heights_and_widths_are_log_uniform_and_independent():
    boxes = draw((4000, 4, 4), max_size=(64, 640), seed=1)
    log_sizes = np.log(boxes[..., 2:] - boxes[..., :2]).reshape(-1, 2)
    log_sizes = log_sizes / np.log(0.7 * np.array([64, 640]))  # uniform from 0 to 1
    np.testing.assert_allclose(log_sizes.mean(0), 0.5, atol=0.01)
    np.testing.assert_allclose(log_sizes.std(0), 12**-0.5, atol=0.01)
    assert abs(np.corrcoef(log_sizes.T)[0, 1]) < 0.03
    assert log_sizes.min() < 0.001
    assert log_sizes.max() > 0.999


def test_positions_spread_around_the_output_pixel():
    boxes = draw((4000, 4, 4), max_size=64, seed=1)
    centre = ((boxes[..., 2:] + boxes[..., :2]) / 2).reshape(-1, 2)
    np.testing.assert_allclose(centre.mean(0), 0, atol=0.2)
    assert np.all(np.abs(centre) <= 16 + tolerances.BOX_BOUNDS)
    assert np.all(np.abs(centre).max(0) > 15.5)
    assert abs(np.corrcoef(centre.T)[0, 1]) < 0.03


def test_the_seed_decides_the_boxes():
    np.testing.assert_array_equal(draw(max_size=9, seed=3), draw(max_size=9, seed=3))
    assert np.any(draw(max_size=9, seed=3) != draw(max_size=9, seed=4))
    # All boxes of one draw differ.
    assert len(np.unique(draw(max_size=9, seed=3).reshape(-1, 4), axis=0)) == 256
    # As in Keras, an integer seed gives the same boxes at every call, a generator different ones.
    integer = RandomBoxes(max_size=9, seed=3)
    np.testing.assert_array_equal(to_float64(integer((2, 1, 4))), to_float64(integer((2, 1, 4))))
    generator = RandomBoxes(max_size=9, seed=keras.random.SeedGenerator(3))
    assert np.any(to_float64(generator((2, 1, 4))) != to_float64(generator((2, 1, 4))))


def test_without_a_seed_the_global_seed_decides():
    keras.utils.set_random_seed(5)
    first, second = draw(max_size=9), draw(max_size=9)
    keras.utils.set_random_seed(5)
    np.testing.assert_array_equal(draw(max_size=9), first)
    assert np.any(first != second)


def test_float64_and_zero_channels():
    boxes = RandomBoxes(max_size=9, seed=0)((0, 2, 4), dtype="float64")
    assert boxes.shape == (0, 2, 4)
    assert dtype_name(boxes) == "float64"
    # The boxes are drawn in float64, not converted from float32.
    boxes = to_float64(RandomBoxes(max_size=9, seed=0)((50, 2, 4), dtype="float64"))
    assert np.mean(boxes == boxes.astype(np.float32)) < 0.01


@pytest.mark.parametrize("seed", [None, 7, keras.random.SeedGenerator(7)])
def test_serialization_round_trip(seed):
    initializer = RandomBoxes(max_size=(3, 4), min_size=0.5, seed=seed)
    config = keras.initializers.serialize(initializer)
    revived = keras.initializers.deserialize(config)
    assert isinstance(revived, RandomBoxes)
    assert keras.initializers.serialize(revived) == config
    if seed is not None:
        np.testing.assert_array_equal(*(to_float64(i((5, 2, 4))) for i in (revived, initializer)))


def test_with_max_size_returns_a_copy_with_the_same_seed():
    without = RandomBoxes(seed=2)
    copy = without.with_max_size((30, 40))
    assert without.max_size is None
    np.testing.assert_array_equal(
        to_float64(copy((3, 2, 4))), draw((3, 2, 4), max_size=(30, 40), seed=2)
    )
    assert copy.with_max_size((8, 8)) is copy


def test_get_accepts_names_and_arrays():
    assert isinstance(initializers.get("random_boxes"), RandomBoxes)
    assert isinstance(initializers.get("zeros"), keras.initializers.Zeros)
    array = np.ones((1, 1, 4), np.float32)
    np.testing.assert_array_equal(to_float64(initializers.get(array)((1, 1, 4), "float32")), array)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"\[channels, depth_multiplier, 4\].*shape=\(3, 5\)"):
        RandomBoxes(max_size=9)((3, 5))
    with pytest.raises(ValueError, match=r"`max_size`.*must be given"):
        RandomBoxes()((3, 1, 4))
    with pytest.raises(ValueError, match="`max_size` must be"):
        RandomBoxes(max_size=0)
    with pytest.raises(ValueError, match="`min_size` must be"):
        RandomBoxes(min_size=0)
    with pytest.raises(ValueError, match="seed"):
        RandomBoxes(seed="seven")
