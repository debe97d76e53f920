"""The letterbox, and affine maps between pixels of an image and of its letterboxed square.

Points are (x, y) in pixels; (0, 0) is the centre of the top left pixel. An affine is a matrix
`[2, 3]`, multiplied by the column vector `(x, y, 1)`.
"""

import tensorflow as tf

GREY = 127.5  # Colour around a letterboxed photograph. The networks scale it to zero.


def letterbox(image: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Resizes an image to fit into the middle of a grey square, keeping its aspect ratio.

    Args:
        image: `[height, width, 3]`, values 0 to 255, any size from 1x1 up, any numeric type.
        size: The square's side in pixels.

    Returns:
        image: float32 `[size, size, 3]`, values 0 to 255, resampled with antialiasing.
        affine: float32 `[2, 3]`, from pixels of the original to pixels of the square.
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

    # The two scales differ a little, because the sides are rounded. Half pixels are added before
    # scaling and subtracted after it, because (0, 0) is the centre of a pixel, not its corner.
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
    """Maps points `[..., n, 2]` by affines `[..., 2, 3]`; both NumPy or TensorFlow."""
    return tf.einsum("...ij,...nj->...ni", affine[..., :2], points) + affine[..., None, :, 2]


def invert_affine(affine: tf.Tensor) -> tf.Tensor:
    """The inverses of affines `[..., 2, 3]`."""
    inverse = tf.linalg.inv(affine[..., :2])
    return tf.concat([inverse, -inverse @ affine[..., 2:]], axis=-1)
