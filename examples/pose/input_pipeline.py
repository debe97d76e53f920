"""From data sets to batches: the letterbox, photographs held in memory, random augmentation.

Points are (x, y) in pixels; (0, 0) is the centre of the top left pixel. An affine is a matrix
`[2, 3]` that maps `(x, y, 1)`.

The training batches are a function of the seed and the number of the step, and of nothing else, so
that a resumed run sees what an uninterrupted one would have seen.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import rich.progress
import tensorflow as tf

GREY = 127.5  # What surrounds a photograph: the network's zero.

# How far training images are varied.
ROTATION = 35.0  # Degrees, either way.
SCALE = 1.35  # Up to so many times larger or smaller.
SHIFT = 0.08  # Of the image's side, either way.
GAIN = 0.3  # Colour and contrast, up to so many parts stronger or weaker.
BRIGHTNESS = 25.0  # Of 255, either way.

# Photographs are held a little larger than the network sees them, so that the augmentation, which
# resamples them, does not blur them.
CANVAS_SCALE = 1.25


def letterbox(image: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Fits an image of any size into the middle of a grey square, keeping its aspect ratio.

    Args:
        image: `[height, width, 3]`, values 0 to 255, any size from 1x1 up, any numeric type.
        size: The square's side in pixels.

    Returns:
        image: float32 `[size, size, 3]`, values 0 to 255, resampled with antialiasing.
        affine: float32 `[2, 3]`, maps pixels of the original to pixels of the square.
    """
    image = tf.ensure_shape(tf.convert_to_tensor(image), (None, None, 3))
    sides = tf.cast(tf.shape(image)[:2], tf.float32)
    scaled = tf.maximum(tf.round(sides * (size / tf.reduce_max(sides))), 1.0)
    scaled_sides = tf.cast(scaled, tf.int32)
    before = (size - scaled_sides) // 2
    after = size - scaled_sides - before
    resized = tf.image.resize(tf.cast(image, tf.float32), scaled_sides, antialias=True)
    paddings = [[before[0], after[0]], [before[1], after[1]], [0, 0]]
    square = tf.pad(resized, paddings, constant_values=GREY)

    # Rounding the sides makes the two scales differ a little. A pixel's centre is half a pixel from
    # its edge, before scaling and after.
    scale_y, scale_x = tf.unstack(scaled / sides)
    shift_y, shift_x = tf.unstack(tf.cast(before, tf.float32))
    affine = tf.stack(
        [
            tf.stack([scale_x, 0.0, scale_x / 2 - 0.5 + shift_x]),
            tf.stack([0.0, scale_y, scale_y / 2 - 0.5 + shift_y]),
        ]
    )
    return tf.ensure_shape(square, (size, size, 3)), affine


def transform_points(affine, points):
    """Maps points `[..., n, 2]` by affines `[..., 2, 3]`; NumPy or TensorFlow."""
    return tf.einsum("...ij,...nj->...ni", affine[..., :2], points) + affine[..., None, :, 2]


def invert_affine(affine: tf.Tensor) -> tf.Tensor:
    """The affines `[..., 2, 3]` that undo those given."""
    inverse = tf.linalg.inv(affine[..., :2])
    return tf.concat([inverse, -inverse @ affine[..., 2:]], axis=-1)


@dataclasses.dataclass(frozen=True)
class Photographs:
    """A pose data set in memory, every photograph letterboxed to one size.

    Attributes:
        images: uint8 `[n, size, size, 3]`.
        joints: float32 `[n, J, 2]`, in pixels of the squares; anywhere where not labelled.
        labelled: bool `[n, J]`.
        affines: float32 `[n, 2, 3]`, map pixels of the original photographs to the squares'.
        visibility: uint8 `[n, J]`, see `pose_features`; None where only `labelled` is known.
        person: What the data set says more of each person, arrays `[n, ...]` by name, in pixels of
            the original photographs; see `pose_features`.
        digest: Differs where labels, pixels or order of the data set that was read differ; empty
            if the photographs are not a whole data set.
    """

    images: np.ndarray
    joints: np.ndarray
    labelled: np.ndarray
    affines: np.ndarray
    visibility: np.ndarray | None = None
    person: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    digest: str = ""

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> int:
        """The squares' side in pixels."""
        return self.images.shape[1]

    @property
    def targets(self) -> np.ndarray:
        """float32 `[n, J, 3]`: x, y, and 1 where labelled, else 0: what loss and metric take."""
        return np.concatenate([self.joints, self.labelled[..., None]], axis=-1, dtype=np.float32)

    @property
    def fields(self) -> tuple[np.ndarray, ...]:
        """The arrays that training needs, in the order of the attributes."""
        return self.images, self.joints, self.labelled, self.affines

    def __getitem__(self, key: slice | np.ndarray) -> "Photographs":
        return Photographs(
            *(field[key] for field in self.fields),
            visibility=None if self.visibility is None else self.visibility[key],
            person={name: values[key] for name, values in self.person.items()},
        )


def read_photographs(dataset: tf.data.Dataset, size: int, description: str) -> Photographs:
    """Reads a whole data set into memory, showing progress.

    Args:
        dataset: Examples of the pose feature specification (`examples.pose.datasets`).
        size: The side to letterbox the photographs to, in pixels.
        description: What the progress bar says.

    Raises:
        ValueError: The data set is empty.
    """

    def convert(example):
        image, affine = letterbox(example["image"], size)
        image = tf.cast(tf.round(tf.clip_by_value(image, 0, 255)), tf.uint8)
        joints = transform_points(affine, tf.cast(example["joints"], tf.float32))
        visibility = example["visibility"]
        arrays = image, joints, visibility > 0, affine
        # Before it is resampled, which may differ from one processor to the next.
        original = tf.cast(example["image"], tf.int32)
        rows_and_columns = [tf.reduce_sum(original, axis=axes) for axes in ((1, 2), (0, 2))]
        content = *rows_and_columns, example["joints"], visibility
        return arrays, visibility, example.get("person", {}), content

    squares = dataset.map(convert, num_parallel_calls=tf.data.AUTOTUNE).prefetch(64)
    count = int(dataset.cardinality())
    progress = rich.progress.track(
        squares.as_numpy_iterator(), description=description, total=count if count > 0 else None
    )
    rows = []
    digest = hashlib.sha256()

    def take_images():
        for (image, *arrays), visibility, person, content in progress:
            rows.append((arrays, visibility, person))
            for value in content:
                digest.update(value.tobytes())
            yield image

    # One array that grows: a list of images besides would take as much again.
    images = np.fromiter(take_images(), np.dtype((np.uint8, (size, size, 3))))
    if not rows:
        raise ValueError(f"The data set to read is empty ({description}).")
    arrays, visibility, person = zip(*rows, strict=True)
    return Photographs(
        images,
        *(np.stack(field) for field in zip(*arrays, strict=True)),
        visibility=np.stack(visibility),
        person={name: np.stack([p[name] for p in person]) for name in person[0]},
        digest=digest.hexdigest(),
    )


def random_affines(count: int, seed: tf.Tensor, from_size: int, to_size: int) -> tf.Tensor:
    """Draws affines that mirror, turn, scale and shift squares, and map them to another size.

    Args:
        count: How many.
        seed: `[2]`, determines the result.
        from_size: Side of the squares that are mapped, in pixels.
        to_size: Side of the squares they are mapped to.

    Returns:
        float32 `[count, 2, 3]`. A negative determinant means that the affine mirrors.
    """
    draws = tf.random.stateless_uniform((5, count), seed, -1.0, 1.0)
    mirror = tf.where(draws[0] < 0, -1.0, 1.0)
    angle = draws[1] * (ROTATION * np.pi / 180)
    scale = SCALE ** draws[2] * (to_size / from_size)
    shift = draws[3:] * (SHIFT * to_size)
    cosine, sine = scale * tf.cos(angle), scale * tf.sin(angle)
    linear = tf.stack(
        [tf.stack([cosine * mirror, -sine], -1), tf.stack([sine * mirror, cosine], -1)], axis=1
    )
    # The centre of a square of n pixels is at (n - 1) / 2.
    centre = tf.reduce_sum(linear, axis=-1) * ((from_size - 1) / 2)
    offset = (to_size - 1) / 2 + tf.transpose(shift) - centre
    return tf.concat([linear, offset[..., None]], axis=-1)


def warp_images(images: tf.Tensor, affines: tf.Tensor, size: int) -> tf.Tensor:
    """Applies affines to images, interpolating bilinearly; what lies outside of them is grey.

    Args:
        images: `[N, H, W, 3]`.
        affines: `[N, 2, 3]`, map pixels of `images` to pixels of the result.
        size: Side of the result in pixels.

    Returns:
        float32 `[N, size, size, 3]`.
    """
    inverse = tf.reshape(invert_affine(affines), (-1, 6))  # The operation asks where from.
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32),
        transforms=tf.pad(inverse, [[0, 0], [0, 2]]),
        output_shape=(size, size),
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
        fill_value=GREY,
    )


def warp_targets(
    targets: tf.Tensor, affines: tf.Tensor, size: int, flip_order: Sequence[int]
) -> tf.Tensor:
    """Applies affines to joints, and gives those that leave the image the weight 0.

    Args:
        targets: `[N, J, 3]`: x, y, weight.
        affines: `[N, 2, 3]`. Where one mirrors, left joints become right ones.
        size: Side of the resulting image in pixels.
        flip_order: `Skeleton.flip_order`.
    """
    mirrored = tf.linalg.det(affines[..., :2]) < 0
    targets = tf.where(mirrored[:, None, None], tf.gather(targets, flip_order, axis=1), targets)
    joints = transform_points(affines, targets[..., :2])
    inside = tf.reduce_all((joints > -0.5) & (joints < size - 0.5), axis=-1)
    weights = targets[..., 2] * tf.cast(inside, tf.float32)
    return tf.concat([joints, weights[..., None]], axis=-1)


def colour_draws(count: int, seed: tf.Tensor) -> tf.Tensor:
    """Draws how `jitter_colours` varies some images: float32 `[count, 2, 1, 1, 3]`, -1 to 1."""
    return tf.random.stateless_uniform((count, 2, 1, 1, 3), seed, -1.0, 1.0)


def jitter_colours(images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Varies brightness, contrast and tint of images; values stay in 0 to 255.

    Args:
        images: `[N, H, W, 3]`.
        draws: What `colour_draws` returned for N images.
    """
    common, single = tf.unstack(draws, axis=1)
    gain = (1 + GAIN) ** (0.75 * common[..., :1] + 0.25 * single)
    brightness = BRIGHTNESS * (0.75 * common[..., 1:2] + 0.25 * common[..., 2:])
    return tf.clip_by_value((images - GREY) * gain + GREY + brightness, 0.0, 255.0)


def part_size(batch_size: int, num_parts: int) -> int:
    """The number of images in each of `num_parts` equal parts of a batch.

    Raises:
        ValueError: `batch_size` is no multiple of `num_parts`.
    """
    if batch_size % num_parts:
        raise ValueError(
            f"`batch_size` must be a multiple of the number of replicas, {num_parts}, got "
            f"{batch_size}."
        )
    return batch_size // num_parts


def training_batches(
    photographs: Photographs,
    flip_order: Sequence[int],
    image_size: int,
    batch_size: int,
    steps: range,
    seed: int,
    parts: range = range(1),
    num_parts: int = 1,
) -> tf.data.Dataset:
    """Augmented training batches, each determined by `seed` and its step number alone.

    The photographs come in a new random order in every pass over them.

    Args:
        photographs: What to train on.
        flip_order: `Skeleton.flip_order`.
        image_size: Side of the images in the batches.
        batch_size: Images in a batch.
        steps: The numbers of the steps to make batches for.
        seed: Determines order and augmentation.
        parts: Which parts of every batch to make, one after the other. The parts of a batch
            together are the batch, however many they are.
        num_parts: Into how many equal parts each batch is cut.

    Returns:
        For each step and each part (images float32 `[n, image_size, image_size, 3]`, targets
        float32 `[n, J, 3]`: x, y, weight), with n = `batch_size / num_parts`.

    Raises:
        ValueError: `batch_size` is no multiple of `num_parts`.
    """
    images_per_part = part_size(batch_size, num_parts)
    targets = tf.constant(photographs.targets)
    count = tf.constant(len(photographs), tf.int64)
    run_seed = tf.constant(seed, tf.int64)

    def make_batch(step, part):
        mine = part * images_per_part + tf.range(images_per_part, dtype=tf.int64)
        number = step * batch_size + mine
        passes = number // count
        order_seed = tf.stack([tf.fill(passes.shape, run_seed), passes, passes], axis=-1)
        # tf.random.experimental.index_shuffle takes one seed only, and a batch may span two passes.
        index = tf.raw_ops.RandomIndexShuffle(
            index=number % count, seed=order_seed, max_index=count - 1, rounds=4
        )
        geometry_seed = tf.stack([run_seed, 2 * step])
        colour_seed = tf.stack([run_seed, 2 * step + 1])
        # Drawn for the whole batch, so that a part's share does not depend on how it is cut.
        affines = random_affines(batch_size, geometry_seed, photographs.size, image_size)
        affines = tf.gather(affines, mine)
        colours = tf.gather(colour_draws(batch_size, colour_seed), mine)
        batch = warp_images(_take(photographs.images, index), affines, image_size)
        return (
            jitter_colours(batch, colours),
            warp_targets(tf.gather(targets, index), affines, image_size, flip_order),
        )

    numbers = tf.data.Dataset.range(steps.start, steps.stop, steps.step).flat_map(
        lambda step: tf.data.Dataset.range(parts.start, parts.stop).map(lambda part: (step, part))
    )
    return numbers.map(make_batch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def _take(array: np.ndarray, index: tf.Tensor) -> tf.Tensor:
    """Rows of an array that stays where it is: TensorFlow would make copies of a constant."""
    rows = tf.numpy_function(lambda i: array[i], [index], array.dtype, stateful=False)
    return tf.ensure_shape(rows, (*index.shape, *array.shape[1:]))


def plain_batches(photographs: Photographs, batch_size: int) -> tf.data.Dataset:
    """The photographs as they are, in order, as batches like those of `training_batches`."""
    arrays = (photographs.images, photographs.targets)
    batches = tf.data.Dataset.from_tensor_slices(arrays).batch(batch_size)
    return batches.map(lambda images, targets: (tf.cast(images, tf.float32), targets))
