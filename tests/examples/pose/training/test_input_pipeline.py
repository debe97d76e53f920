"""Tests of letterboxing, augmentation, training batches, and reading data sets into memory."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from examples.pose.datasets import in_memory
from examples.pose.datasets.skeletons import LSP_SKELETON
from examples.pose.images import geometry
from examples.pose.training import augmentation
from examples.pose.training import input_pipeline as pipeline

ORDER = LSP_SKELETON.flip_order


def photographs(count=7, size=40, seed=0):
    rng = np.random.default_rng(seed)
    return in_memory.Photographs(
        images=rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8),
        joints=rng.uniform(0, size - 1, (count, 14, 2)).astype(np.float32),
        labelled=rng.uniform(size=(count, 14)) < 0.8,
        affines=np.tile(np.float32([[1, 0, 0], [0, 1, 0]]), (count, 1, 1)),
    )


def dot_image(height, width, x, y, radius=2.0):
    """A black image with a white disc with soft edges at (x, y)."""
    rows, columns = np.mgrid[:height, :width]
    distance = np.hypot(columns - x, rows - y)
    return np.repeat(np.clip(radius + 0.5 - distance, 0, 1)[..., None] * 255, 3, axis=-1)


def find_dot(image, dark=0.0):
    """The weighted centre (x, y) of pixels brighter than half way from `dark` to white."""
    weight = np.maximum(np.asarray(image)[..., 0] - (dark + 255) / 2, 0)
    rows, columns = np.mgrid[: weight.shape[0], : weight.shape[1]]
    return np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()


SIZES = [(1, 1), (1, 500), (500, 1), (3, 2), (97, 61), (96, 96), (250, 333)]


@pytest.mark.parametrize("height,width", SIZES)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_letterbox_takes_any_size(height, width, dtype):
    image, affine = geometry.letterbox(np.full((height, width, 3), 200, dtype), 96)
    assert image.shape == (96, 96, 3) and image.dtype == tf.float32 and affine.shape == (2, 3)
    inside = np.all(image.numpy() != geometry.GREY, axis=-1)
    np.testing.assert_allclose(image.numpy()[inside], 200, rtol=1e-5)
    rows, columns = inside.any(axis=1).sum(), inside.any(axis=0).sum()
    assert inside.sum() == rows * columns
    assert max(rows, columns) == 96
    for side, other in ((rows, height), (columns, width)):
        assert side == max(1, round(other * 96 / max(height, width)))
    # The outer edges of corner pixels map to the outer edges of the photograph in the square.
    corners = np.float32([[-0.5, -0.5], [width - 0.5, height - 0.5]])
    mapped = geometry.transform_points(affine, corners).numpy()
    first = np.argwhere(inside).min(axis=0)[::-1]
    np.testing.assert_allclose(mapped, [first - 0.5, first + [columns, rows] - 0.5], atol=1e-3)


@pytest.mark.parametrize("height,width", [(60, 40), (41, 83), (300, 200), (30, 150)])
def test_letterbox_maps_image_and_points_consistently(height, width):
    point = np.float32([width * 0.3, height * 0.6])
    radius = 0.04 * max(height, width)
    image, affine = geometry.letterbox(dot_image(height, width, *point, radius), 96)
    expected = geometry.transform_points(affine, point[None])[0]
    np.testing.assert_allclose(find_dot(image, geometry.GREY), expected, atol=0.2)


def test_letterbox_works_in_a_graph_of_unknown_size():
    signature = [tf.TensorSpec([None, None, 3], tf.uint8)]
    graph = tf.function(lambda image: geometry.letterbox(image, 32), input_signature=signature)
    for height, width in SIZES:
        image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        for got, expected in zip(graph(image), geometry.letterbox(image, 32), strict=True):
            np.testing.assert_allclose(got, expected, atol=1e-3)


@pytest.mark.parametrize(
    "size", [(1, 1), (3, 500), (700, 1), (96, 96), (129, 127), (480, 640), (31, 47)]
)
def test_matrices_letterbox_like_resize(size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected, affine = geometry.letterbox(image, 96)
    squares, affines = geometry.letterbox_by_matrices(np.stack([image, image[::-1]]), 96)
    np.testing.assert_allclose(squares[0], expected, atol=1e-2)
    np.testing.assert_array_equal(affines, affine[np.newaxis])


def test_letterbox_rejects_images_without_three_channels():
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="4,4,1"):
        geometry.letterbox(np.zeros((4, 4, 1), np.uint8), 8)


def test_invert_affine_is_the_inverse():
    affines = augmentation.random_affines(9, (1, 2), 40, 32)
    points = np.random.default_rng(0).uniform(0, 40, (9, 5, 2)).astype(np.float32)
    there = geometry.transform_points(affines, points)
    back = geometry.transform_points(geometry.invert_affine(affines), there)
    np.testing.assert_allclose(back, points, atol=1e-3)


def test_random_affines_stay_within_their_ranges():
    affines = augmentation.random_affines(2000, (3, 4), 120, 96).numpy()
    determinant = np.linalg.det(affines[:, :, :2])
    scale = np.sqrt(np.abs(determinant)) / (96 / 120)
    assert 0.4 < np.mean(determinant < 0) < 0.6
    assert (
        1 / augmentation.SCALE <= scale.min() < 0.8
        and 1.25 < scale.max() <= augmentation.SCALE + 1e-4
    )
    angle = np.degrees(np.arctan2(-affines[:, 0, 1], affines[:, 1, 1]))
    assert -augmentation.ROTATION - 0.01 <= angle.min() < -30
    assert 30 < angle.max() <= augmentation.ROTATION + 0.01
    centre = geometry.transform_points(affines, np.full((2000, 1, 2), 59.5, np.float32))
    shift = np.abs(centre.numpy() - 47.5)
    assert (
        shift.max() <= augmentation.SHIFT * 96 + 1e-3
        and shift.max() > 0.9 * augmentation.SHIFT * 96
    )


def test_strength_scales_the_ranges():
    def ranges(strength):
        affines = augmentation.random_affines(500, (3, 4), 64, 64, strength).numpy()
        linear = affines[:, :, :2]
        scale = np.sqrt(np.abs(np.linalg.det(linear)))
        angle = np.degrees(np.arctan2(-linear[:, 0, 1], linear[:, 1, 1]))
        colours = augmentation.colour_draws(500, (3, 4), strength).numpy()
        return np.array([np.abs(v).max() for v in (np.log(scale), angle, colours)])

    np.testing.assert_allclose(ranges(0.5), ranges(1) / 2, rtol=1e-3)
    np.testing.assert_allclose(ranges(2), ranges(1) * 2, rtol=1e-3)
    unchanged = np.float32([[1, 0, 0], [0, 1, 0]])
    mirrored = np.float32([[-1, 0, 63], [0, 1, 0]])
    for affine in augmentation.random_affines(50, (3, 4), 64, 64, 0).numpy():
        want = unchanged if affine[0, 0] > 0 else mirrored
        np.testing.assert_allclose(affine, want, atol=1e-4)


@pytest.mark.parametrize("seed", range(6))
def test_warp_moves_image_and_joints_consistently(seed):
    affines = augmentation.random_affines(1, (seed, 0), 120, 96)
    joint = np.float32([70.3, 52.8])
    targets = np.zeros((1, 14, 3), np.float32)
    targets[0, 0] = [*joint, 1]  # The right ankle; the left one, 5, is not labelled.
    image = augmentation.warp_images(dot_image(120, 120, *joint, radius=4)[None], affines, 96)
    warped = augmentation.warp_targets(tf.constant(targets), affines, 96, ORDER).numpy()
    mirrored = np.linalg.det(affines[0, :, :2]) < 0
    labelled = 5 if mirrored else 0
    assert warped[0, :, 2].nonzero()[0].tolist() == [labelled]
    np.testing.assert_allclose(find_dot(image[0], geometry.GREY), warped[0, labelled, :2], atol=0.2)


def test_seeds_of_the_warp_test_include_a_mirrored_image():
    signs = [
        np.linalg.det(augmentation.random_affines(1, (s, 0), 9, 9)[0, :, :2]) for s in range(6)
    ]
    assert min(signs) < 0 < max(signs)


def test_mirroring_twice_is_the_identity():
    mirror = tf.constant([[[-1.0, 0, 95], [0, 1, 0]]])
    rng = np.random.default_rng(0)
    targets = np.float32(rng.uniform(1, 94, (1, 14, 3)))
    targets[..., 2] = rng.integers(0, 2, (1, 14))
    once = augmentation.warp_targets(tf.constant(targets), mirror, 96, ORDER)
    for left, right in LSP_SKELETON.flip_pairs:
        np.testing.assert_allclose(once[0, left, 0], 95 - targets[0, right, 0], rtol=1e-6)
        assert once[0, left, 2] == targets[0, right, 2]
    twice = augmentation.warp_targets(once, mirror, 96, ORDER)
    np.testing.assert_allclose(twice, targets, atol=1e-4)
    image = np.float32(rng.uniform(0, 255, (1, 96, 96, 3)))
    mirrored = augmentation.warp_images(image, mirror, 96)
    np.testing.assert_allclose(mirrored, image[:, :, ::-1], atol=1e-3)


def test_joints_that_leave_the_image_are_masked():
    right = tf.constant([[[1.0, 0, 50], [0, 1, 0]]])
    targets = np.ones((1, 14, 3), np.float32)
    targets[0, :, 0] = np.linspace(0, 90, 14)
    warped = augmentation.warp_targets(tf.constant(targets), right, 96, ORDER).numpy()
    np.testing.assert_array_equal(warped[0, :, 2] > 0, targets[0, :, 0] + 50 < 95.5)


def test_jittered_colours_stay_in_range():
    image = np.float32(np.random.default_rng(0).uniform(0, 255, (64, 4, 4, 3)))
    jittered = augmentation.jitter_colours(image, augmentation.colour_draws(64, (0, 1))).numpy()
    assert jittered.min() >= 0 and jittered.max() <= 255
    assert np.abs(jittered - image).mean(axis=(1, 2, 3)).min() > 1
    draws = augmentation.colour_draws(64, (0, 1))
    grey = augmentation.jitter_colours(np.full((64, 1, 1, 3), 127.5, np.float32), draws)
    assert np.abs(grey.numpy() - 127.5).max() <= augmentation.BRIGHTNESS + 1e-3


def batches(steps, seed=5, data=None, batch_size=4, **cut):
    dataset = pipeline.training_batches(
        data or photographs(), ORDER, 32, batch_size, steps=steps, seed=seed, **cut
    )
    return [(images.numpy(), targets.numpy()) for images, targets in dataset]


def test_batches_depend_on_seed_and_step_only():
    whole, resumed = batches(range(12)), batches(range(5, 12))
    assert len(whole) == 12 and len(resumed) == 7
    for (images, targets), (images2, targets2) in zip(whole[5:], resumed, strict=True):
        np.testing.assert_array_equal(images, images2)
        np.testing.assert_array_equal(targets, targets2)
    other = batches(range(1), seed=6)
    assert np.abs(other[0][0] - whole[0][0]).mean() > 1
    for (first, _), (second, _) in itertools.pairwise(whole):
        assert np.abs(first - second).mean() > 1


def test_batches_without_augmentation_are_mirrored_photographs():
    data = photographs(size=32)
    known = {image.tobytes() for image in data.images}
    known |= {image[:, ::-1].tobytes() for image in data.images}

    def images(strength):
        made = batches(range(4), data=data, augmentation=strength)
        return {image.tobytes() for batch, _ in made for image in np.uint8(np.round(batch))}

    assert images(0.0) <= known
    assert not images(1.0) & known


@pytest.mark.parametrize("count", [2, 4])
def test_concatenated_parts_equal_the_batch(count):
    whole = batches(range(3, 6))
    for part in range(count):
        parts = batches(range(3, 6), parts=range(part, part + 1), num_parts=count)
        share = slice(part * 4 // count, (part + 1) * 4 // count)
        for (images, targets), (all_images, all_targets) in zip(parts, whole, strict=True):
            np.testing.assert_allclose(targets, all_targets[share], atol=1e-4)
            # SIMD code for `pow` rounds differently for other vector lengths.
            np.testing.assert_allclose(images, all_images[share], atol=1e-4)
    several = batches(range(3, 6), parts=range(2), num_parts=count)
    assert len(several) == 6
    made = np.concatenate([several[2][0], several[3][0]])
    np.testing.assert_allclose(made, whole[1][0][: 8 // count], atol=1e-4)


def test_batch_size_must_divide_into_equal_parts():
    with pytest.raises(ValueError, match=r"`batch_size`.*replicas, 3, got 4"):
        batches(range(1), num_parts=3)


def test_each_pass_has_every_photograph_once_in_a_new_order():
    # Photographs are told apart by which two joints are labelled, up to mirroring.
    count = 21
    data = photographs(count)
    data.labelled[:] = False
    data.labelled[np.arange(count), np.arange(count) % 7] = True
    data.labelled[np.arange(count), 7 + np.arange(count) // 7] = True
    data.joints[:] = 20
    label_sets = {
        i: {
            tuple(order[j] for j in np.flatnonzero(data.labelled[i]))
            for order in (range(14), ORDER)
        }
        for i in range(count)
    }
    seen = []
    for _, targets in batches(range(12), data=data, batch_size=7):
        for weights in targets[..., 2]:
            labels = frozenset(np.flatnonzero(weights))
            seen.append(
                [i for i in label_sets if any(labels == frozenset(k) for k in label_sets[i])]
            )
    passes = [seen[i : i + count] for i in range(0, len(seen), count)]
    assert len(passes) == 4
    counts = [sorted(map(tuple, order)) for order in passes]
    assert all(c == counts[0] for c in counts)
    assert all(a != b for a, b in itertools.combinations(passes, 2))


def test_plain_batches_are_the_photographs():
    data = photographs(5)
    images, targets = zip(*pipeline.plain_batches(data, 2), strict=True)
    np.testing.assert_array_equal(np.concatenate(images), data.images)
    np.testing.assert_array_equal(np.concatenate(targets), data.targets)
    assert set(np.unique(data.targets[..., 2])) == {0, 1}


def examples(sizes):
    def generate():
        for i, (height, width) in enumerate(sizes):
            joints = np.float32([[j, j] for j in range(14)])
            visibility = np.arange(14) % 3
            yield {
                "image": np.full((height, width, 3), i + 1, np.uint8),
                "joints": joints,
                "visibility": visibility.astype(np.uint8),
            }

    signature = {
        "image": tf.TensorSpec([None, None, 3], tf.uint8),
        "joints": tf.TensorSpec([14, 2]),
        "visibility": tf.TensorSpec([14], tf.uint8),
    }
    return tf.data.Dataset.from_generator(generate, output_signature=signature)


def test_read_photographs():
    data = in_memory.read_photographs(examples([(10, 20), (40, 20), (5, 5)]), 20, "reading")
    assert len(data) == 3 and data.size == 20 and data.images.dtype == np.uint8
    np.testing.assert_array_equal(data.images[:, 10, 10, 0], [1, 2, 3])
    np.testing.assert_array_equal(data.labelled, np.tile(np.arange(14) % 3 > 0, (3, 1)))
    np.testing.assert_allclose(data.joints[0], data.affines[0][:, 2] + np.c_[:14, :14])


def test_empty_data_set_raises():
    with pytest.raises(ValueError, match=r"empty \(reading nothing\)"):
        in_memory.read_photographs(examples([]), 20, "reading nothing")
