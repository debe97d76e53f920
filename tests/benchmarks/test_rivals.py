"""The rivals compute the same as the operator, so that comparing their times is fair."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import tf_boxconv
from benchmarks import measure, opencv, rivals
from benchmarks.cases import (
    COPY,
    DEPTHWISE_3,
    FORWARD,
    FORWARD_BACKWARD,
    PASSES,
    Candidate,
    Case,
    random_boxes,
)
from benchmarks.rivals import RIVALS, Inputs
from benchmarks.suites import STANDARD, SUITES
from tests import tolerances
from tests.benchmarks.small_cases import TINY, shrunk
from tests.images import DATA_FORMATS


def box_means(case, x, size):
    """Returns means of `size` x `size` pixels, computed by the operator."""
    half = size / 2
    boxes = np.tile(np.float32([-half, -half, half, half]), (case.channels, 1, 1))
    return tf_boxconv.box_conv2d(x, boxes, data_format=case.data_format)


def result_of(name, case, size, inputs, pass_name=FORWARD):
    return RIVALS[name].call(case, size, inputs, pass_name)()


@pytest.mark.parametrize("data_format", DATA_FORMATS)
@pytest.mark.parametrize("size", [1, 3, 7, 31])
def test_cumsum_gather_computes_box_means_and_their_gradient(size, data_format):
    case = dataclasses.replace(TINY, data_format=data_format)
    inputs = Inputs(case)
    out, gradient = result_of("cumsum+gather", case, size, inputs, FORWARD_BACKWARD)
    with tf.GradientTape() as tape:
        tape.watch(inputs.x)
        expected = box_means(case, inputs.x, size)
    expected_gradient = tape.gradient(expected, inputs.x, output_gradients=inputs.output_grad)
    np.testing.assert_allclose(out, expected, **tolerances.VALUES["float32"])
    np.testing.assert_allclose(gradient, expected_gradient, **tolerances.VALUES["float32"])
    np.testing.assert_allclose(
        result_of("cumsum+gather", case, size, inputs), expected, **tolerances.VALUES["float32"]
    )


def test_average_pool_computes_box_means_away_from_the_border():
    inputs = Inputs(TINY)
    inside = np.s_[:, 2:-2, 2:-2]
    np.testing.assert_allclose(
        result_of("average pool", TINY, 5, inputs)[inside],
        box_means(TINY, inputs.x, 5)[inside],
        **tolerances.VALUES["float32"],
    )


@pytest.mark.parametrize("channels", [1, 3, opencv.MAX_CHANNELS + 2])
@pytest.mark.parametrize("size", [1, 5, 31])
def test_opencv_computes_box_means(size, channels):
    pytest.importorskip("cv2")
    case = dataclasses.replace(TINY, channels=channels)
    inputs = Inputs(case)
    out = opencv.images_of(result_of("OpenCV boxFilter", case, size, inputs), case.batch)
    np.testing.assert_allclose(out, box_means(case, inputs.x, size), **tolerances.VALUES["float32"])


def test_opencv_computes_the_integral_image():
    pytest.importorskip("cv2")
    inputs = Inputs(TINY)
    out = opencv.images_of(result_of("OpenCV integral", TINY, None, inputs), TINY.batch)
    table = tf_boxconv.integral_image(inputs.x, data_format="channels_last", dtype="float64")
    np.testing.assert_allclose(out, table, atol=1e-9)


@pytest.mark.parametrize("pass_name", PASSES)
def test_portable_path_equals_box(pass_name):
    case = dataclasses.replace(TINY, multiplier=2)
    inputs = Inputs(case)
    pairs = zip(
        tf.nest.flatten(result_of("box", case, 5, inputs, pass_name)),
        tf.nest.flatten(result_of("portable", case, 5, inputs, pass_name)),
        strict=True,
    )
    for ours, portable in pairs:
        np.testing.assert_allclose(ours, portable, **tolerances.MODELS["float32"])


def test_boxes_are_normalized_as_the_case_says():
    case = dataclasses.replace(TINY, normalization="valid")
    inputs = Inputs(case)
    area, valid = (result_of("box", c, 5, inputs) for c in (TINY, case))
    # They differ only where boxes leave the plane.
    inside = np.s_[:, 3:-3, 3:-3]
    np.testing.assert_allclose(valid[inside], area[inside], **tolerances.VALUES["float32"])
    assert np.all(np.abs(valid[:, 0]) > np.abs(area[:, 0]))
    np.testing.assert_allclose(
        result_of("portable", case, 5, inputs), valid, **tolerances.VALUES["float32"]
    )


@pytest.mark.parametrize("dtype", rivals.FLOAT_TYPES)
@pytest.mark.parametrize("pass_name", PASSES)
def test_the_copy_is_not_optimized_away(dtype, pass_name):
    case = dataclasses.replace(TINY, dtype=dtype)
    inputs = Inputs(case)
    out = result_of("copy", case, None, inputs, pass_name)
    assert out.shape == case.shape and np.any(out != inputs.x)


@pytest.mark.parametrize("pass_name", PASSES)
@pytest.mark.parametrize("suite", ["sizes", "boxes", "dtypes", "sizes_and_planes"])
def test_all_candidates_of_a_suite_run(suite, pass_name):
    entries = {dataclasses.replace(e, case=shrunk(e.case)) for e in SUITES[suite].entries}
    keys, skipped = measure.keys_of(entries, pass_name)
    for key, call in measure.compile_calls(keys).items():
        out = tf.nest.flatten(call())[0]
        if RIVALS[key.candidate.operator].dtypes == rivals.FLOAT_TYPES:
            assert out.dtype == key.case.dtype, key
            assert key.candidate == COPY or tf.size(out) == key.case.outputs, key
    assert all("OpenCV" in skip.key.candidate.operator for skip in skipped)


def test_costly_and_impossible_candidates_are_skipped_with_a_reason():
    def reason(operator, size, pass_name, **changes):
        case = dataclasses.replace(STANDARD, **changes)
        return rivals.reason_to_skip(case, Candidate(operator, size), pass_name)

    assert reason("depthwise", 63, FORWARD) is None
    assert "multiply-adds" in reason("depthwise", 31, FORWARD_BACKWARD)
    assert "multiply-adds" in reason("portable", 31, FORWARD, height=2048, width=2048)
    assert reason("box", 127, FORWARD_BACKWARD, height=2048, width=2048) is None
    assert "one filter" in reason("cumsum+gather", 3, FORWARD, multiplier=2)
    assert "float16" in reason("cumsum+gather", 3, FORWARD, dtype="float16")
    assert reason("OpenCV integral", None, FORWARD_BACKWARD)
    huge = dataclasses.replace(STANDARD, height=4096, width=4096)
    for candidate in (DEPTHWISE_3, COPY):
        assert all(rivals.reason_to_skip(huge, candidate, name) is None for name in PASSES)


def test_random_boxes_are_valid_reproducible_and_of_many_sizes():
    case = Case(1, 64, 32, 50, multiplier=2)
    boxes = random_boxes(case)
    assert boxes.shape == (50, 2, 4) and boxes.dtype == np.float32
    extents = boxes[..., 2:] - boxes[..., :2]
    assert np.all(extents > 0.99) and np.all(extents <= [64.01, 32.01])
    assert np.median(extents[..., 0]) < 16 < np.max(extents[..., 0])
    np.testing.assert_array_equal(boxes, random_boxes(case))
