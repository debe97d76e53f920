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
    placement = _Placement(tf.shape(image)[:2], size)
    scaled, before = tf.cast(placement.scaled, tf.int32), tf.cast(placement.before, tf.int32)
    after = size - scaled - before
    resized = tf.image.resize(tf.cast(image, tf.float32), scaled, antialias=True)
    paddings = [[before[0], after[0]], [before[1], after[1]], [0, 0]]
    square = tf.pad(resized, paddings, constant_values=GREY)
    return tf.ensure_shape(square, (size, size, 3)), placement.affine()


def letterbox_by_matrices(images: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """`letterbox` of a batch, in operations that ONNX, LiteRT, TensorFlow.js and OpenVINO have.

    They have no resampling with antialiasing. It is linear and separable, so that it is a product
    with one matrix on each side. Results equal those of `letterbox` up to rounding.

    Args:
        images: `[batch, height, width, 3]`, as in `letterbox`.
        size: The square's side in pixels.

    Returns:
        images: float32 `[batch, size, size, 3]`, values 0 to 255.
        affine: float32 `[1, 2, 3]`, from pixels of the originals to pixels of the squares.
    """
    shape = tf.shape(images)
    height, width = shape[1], shape[2]
    placement = _Placement(shape[1:3], size)
    rows = placement.resampling_matrix(0, height)
    columns = placement.resampling_matrix(1, width)
    # Grey becomes zero, so that the matrices need not add it around the picture.
    images = tf.cast(images, tf.float32) - GREY
    shrunk = tf.matmul(rows, tf.reshape(images, (-1, height, width * 3)))
    shrunk = tf.transpose(tf.reshape(shrunk, (-1, size, width, 3)), (0, 1, 3, 2))
    shrunk = tf.matmul(tf.reshape(shrunk, (-1, width)), tf.transpose(columns, (1, 0)))
    squares = tf.transpose(tf.reshape(shrunk, (-1, size, 3, size)), (0, 1, 3, 2))
    return squares + GREY, placement.affine()[tf.newaxis]


class _Placement:
    """Where a picture lies in its letterboxed square.

    Args:
        sides: int32 `[2]`, height and width of the picture in pixels.
        size: The square's side in pixels.

    Attributes:
        scaled: float32 `[2]`, height and width in the square; whole numbers.
        before: float32 `[2]`, rows above and columns left of the picture; whole numbers.
        scale: float32 `[2]`. The two scales differ a little, because the sides are rounded.
    """

    def __init__(self, sides: tf.Tensor, size: int):
        sides = tf.cast(sides, tf.float32)
        self.size = size
        self.scaled = tf.maximum(tf.round(sides * (size / tf.reduce_max(sides))), 1.0)
        self.before = tf.floor((size - self.scaled) / 2)
        self.scale = self.scaled / sides

    def affine(self) -> tf.Tensor:
        """Returns the affine from pixels of the picture to pixels of the square."""
        # Half pixels are added before scaling and subtracted after it, because (0, 0) is the centre
        # of a pixel, not its corner.
        scale_y, scale_x = tf.unstack(self.scale)
        shift_y, shift_x = tf.unstack(self.scale / 2 - 0.5 + self.before)
        return tf.stack([tf.stack([scale_x, 0.0, shift_x]), tf.stack([0.0, scale_y, shift_y])])

    def resampling_matrix(self, axis: int, side: tf.Tensor) -> tf.Tensor:
        """The weights of a picture's pixels in the square's along an axis, `[size, side]`.

        The same as `tf.image.resize` with antialiasing: a triangle as wide as two pixels of the
        square, but at least two pixels of the picture. Rows around the picture are zero.
        """
        scale = self.scale[axis]
        places = tf.range(self.size, dtype=tf.float32) - self.before[axis]
        centres = (places + 0.5) / scale
        pixels = tf.cast(tf.range(side), tf.float32) + 0.5
        distances = tf.abs(pixels - centres[:, tf.newaxis]) * tf.minimum(scale, 1.0)
        inside = (places >= 0) & (places < self.scaled[axis])
        weights = tf.where(inside[:, tf.newaxis], tf.maximum(1.0 - distances, 0.0), 0.0)
        # The sums of rows around the picture are zero; all others are much more than this bound.
        return weights / tf.maximum(tf.reduce_sum(weights, axis=1, keepdims=True), 1e-6)


def transform_points(affine, points):
    """Maps points `[..., n, 2]` by affines `[..., 2, 3]`; both NumPy or TensorFlow."""
    moved = tf.matmul(points, tf.linalg.matrix_transpose(affine[..., :2]))
    return moved + tf.expand_dims(affine[..., 2], -2)


def invert_affine(affine: tf.Tensor) -> tf.Tensor:
    """The inverses of affines `[..., 2, 3]`."""
    # A formula, because the runtimes of exported models have no matrix inverse.
    (a, b), (c, d) = (tf.unstack(row, axis=-1) for row in tf.unstack(affine[..., :2], axis=-2))
    adjugate = tf.stack([tf.stack([d, -b], axis=-1), tf.stack([-c, a], axis=-1)], axis=-2)
    inverse = adjugate / (a * d - b * c)[..., tf.newaxis, tf.newaxis]
    return tf.concat([inverse, -inverse @ affine[..., 2:]], axis=-1)
