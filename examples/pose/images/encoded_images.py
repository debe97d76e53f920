"""Decodes picture files in TensorFlow ops, for exported models whose input is an encoded picture.

The pixels are the same as those of `image_files.decode_image`. Files that TensorFlow would decode
differently raise an error: CMYK, and BMP other than 24-bit uncompressed (TensorFlow ignores
palettes and compression). So do files that TensorFlow does not decode safely:

* Animated WebP. If it is opaque, TensorFlow 2.21 writes four channels into memory for three.
* GIF. TensorFlow decodes all frames to return the first. A small file can hold gigabytes of frames.
"""

import tensorflow as tf

# Limits what is processed after decoding: a small file can hold a picture that would exhaust the
# memory of a server that runs the exported model.
MAX_PIXELS = 2**26
_PNG_START = b"\x89PNG\r\n\x1a\n"
# Bits of the flags in a WebP's header chunk, VP8X.
_WEBP_ANIMATION, _WEBP_EXIF = 0x02, 0x08
_TIFF_STARTS = (b"II*\0", b"MM\0*")
_HEADER_BYTES = 64
_ORIENTATION_TAG = 0x0112
# In bytes, from BITMAPINFOHEADER to BITMAPV5HEADER.
_BMP_HEADER_SIZES = (40, 52, 56, 64, 108, 124)


def decode(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a JPEG, PNG, WebP or BMP file to uint8 RGB `[height, width, 3]`.

    The EXIF orientation is applied, transparency is blended with white, and 16-bit channels are
    reduced to their high byte.

    Args:
        encoded: String scalar, the file's content.

    Raises:
        tf.errors.InvalidArgumentError: If `encoded` is not a supported JPEG, PNG, WebP or BMP file,
            or has more than `MAX_PIXELS` pixels. In a graph, the error is raised when the op runs.
    """
    start = tf.strings.substr(encoded, 0, _HEADER_BYTES)
    header = tf.io.decode_raw(start + b"\0" * _HEADER_BYTES, tf.uint8)[:_HEADER_BYTES]
    is_jpeg, is_png = _begins_with(header, b"\xff\xd8\xff"), _begins_with(header, _PNG_START)
    is_webp = _begins_with(header, b"RIFF") & _begins_with(header[8:], b"WEBP")
    known = _require(
        is_jpeg | is_png | is_webp | _begins_with(header, b"BM"),
        "Unknown image file format. Send JPEG, PNG, WebP, or 24-bit uncompressed BMP.",
    )
    with tf.control_dependencies([known]):
        image = tf.case(
            [
                (is_jpeg, lambda: _decode_jpeg(encoded)),
                (is_png, lambda: _decode_png(encoded, header)),
                (is_webp, lambda: _decode_webp(encoded, header)),
            ],
            default=lambda: _decode_bmp(encoded, header),
        )
    return tf.ensure_shape(image, [None, None, 3])


def _decode_jpeg(encoded: tf.Tensor) -> tf.Tensor:
    shape = tf.io.extract_jpeg_shape(encoded)
    is_rgb = _require(shape[2] < 4, "CMYK JPEG files are not supported: convert to RGB.")
    with tf.control_dependencies([is_rgb]):
        # Pillow and browsers use the accurate transform too.
        image = tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
    return _turn(_within_limit(image), _tiff_orientation(_jpeg_exif(encoded)))


def _decode_png(encoded: tf.Tensor, header: tf.Tensor) -> tf.Tensor:
    colour_type = header[25]
    one_transparent_colour = ((colour_type == 0) | (colour_type == 2)) & _has_transparency_chunk(
        encoded
    )
    # With channels=0, TensorFlow ignores a single transparent colour, so grey and RGB files that
    # have one are decoded with channels=4. Other files are not: with channels=4, TensorFlow
    # misdecodes palettes without transparency.
    image = tf.cond(
        one_transparent_colour,
        lambda: tf.io.decode_png(encoded, channels=4),
        lambda: tf.io.decode_png(encoded, channels=0),
    )
    image = _on_white(_within_limit(image))
    # An eXIf chunk holds a TIFF structure, which starts with its byte order. Takes the file from
    # there to its end, or an empty string if there is no such chunk.
    tiff_structures = [
        byte_order + tf.strings.split(encoded, b"eXIf" + byte_order, maxsplit=1)[1:]
        for byte_order in _TIFF_STARTS
    ]
    return _turn(image, _tiff_orientation(tf.concat([*tiff_structures, [b""]], axis=0)[0]))


def _decode_webp(encoded: tf.Tensor, header: tf.Tensor) -> tf.Tensor:
    is_extended = _begins_with(header[12:], b"VP8X")
    flags = tf.where(is_extended, tf.cast(header[20], tf.int32), 0)
    is_still = _require(
        flags & _WEBP_ANIMATION == 0, "Animated WebP files are not supported: send one picture."
    )
    with tf.control_dependencies([is_still]):
        # Servers that run a TensorFlow without `decode_webp` can load a graph of `decode_image`.
        image = tf.io.decode_image(encoded, channels=0, expand_animations=False)
    image = _on_white(_within_limit(image))
    has_exif = flags & _WEBP_EXIF != 0
    exif = tf.cond(has_exif, lambda: _webp_exif(encoded), lambda: tf.constant(b""))
    return _turn(image, _tiff_orientation(exif))


def _decode_bmp(encoded: tf.Tensor, header: tf.Tensor) -> tf.Tensor:
    fields = tf.cast(header, tf.int32)
    has_known_header = tf.reduce_any(_little_endian(fields[14:18], 4) == _BMP_HEADER_SIZES)
    is_24_bit = _little_endian(fields[28:30], 2) == 24
    is_uncompressed = _little_endian(fields[30:34], 4) == 0
    supported = _require(
        has_known_header & is_24_bit & is_uncompressed,
        "BMP files must be 24-bit and uncompressed: send JPEG or PNG.",
    )
    with tf.control_dependencies([supported]):
        return _within_limit(tf.io.decode_bmp(encoded, channels=3))


def _within_limit(image: tf.Tensor) -> tf.Tensor:
    """Returns the picture, or raises an error if it has more than `MAX_PIXELS` pixels."""
    shape = tf.shape(image)
    allowed = tf.debugging.Assert(
        tf.reduce_prod(tf.cast(shape[:2], tf.int64)) <= MAX_PIXELS,
        [f"Pictures may have at most {MAX_PIXELS} pixels, got one of shape", shape],
    )
    with tf.control_dependencies([allowed]):
        return tf.identity(image)


def _on_white(image: tf.Tensor) -> tf.Tensor:
    """Converts grey, grey with alpha, RGB or RGB with alpha to RGB on white."""
    channels = tf.shape(image)[2]

    def blend():
        colour, alpha = tf.cast(image[..., :-1], tf.int32), tf.cast(image[..., -1:], tf.int32)
        return tf.cast((colour * alpha + 255 * (255 - alpha) + 127) // 255, tf.uint8)

    colour = tf.cond(channels % 2 == 0, blend, lambda: image)
    return tf.cond(channels > 2, lambda: colour, lambda: tf.repeat(colour[..., :1], 3, axis=-1))


def _has_transparency_chunk(encoded: tf.Tensor) -> tf.Tensor:
    before_pixels = tf.strings.split(encoded, b"IDAT", maxsplit=1)[0]
    return tf.size(tf.strings.split(before_pixels, b"tRNS", maxsplit=1)) > 1


def _turn(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Rotates and mirrors a picture by its EXIF orientation, 1 to 8."""
    for orientations, change in (
        ((5, 6, 7, 8), lambda x: tf.transpose(x, (1, 0, 2))),
        ((2, 3, 6, 7), lambda x: x[:, ::-1]),
        ((3, 4, 7, 8), lambda x: x[::-1]),
    ):
        applies = tf.reduce_any(orientation == orientations)
        image = tf.cond(applies, lambda x=image, f=change: f(x), lambda x=image: x)
    return image


def _jpeg_exif(encoded: tf.Tensor) -> tf.Tensor:
    """The TIFF structure in a JPEG's first EXIF segment; empty if there is none."""
    data = tf.cast(tf.io.decode_raw(encoded, tf.uint8), tf.int32)
    size = tf.size(data)
    data = tf.pad(data, [[0, 16]])  # Reading ahead at the end yields zeros.
    not_found = size

    def unfinished(position, found):
        marker = data[position + 1]
        in_header = (position < size) & (data[position] == 0xFF) & (marker != 0xDA)
        return (found == not_found) & in_header

    def next_segment(position, found):
        marker, name = data[position + 1], data[position + 4 : position + 10]
        is_exif = (marker == 0xE1) & tf.reduce_all(name == list(b"Exif\0\0"))
        length = 256 * data[position + 2] + data[position + 3]
        # Any number of bytes 0xFF may precede a marker.
        step = tf.where(marker == 0xFF, 1, 2 + length)
        found = tf.where(is_exif, tf.minimum(position + 10, size), found)
        return tf.minimum(position + step, size), found

    _, found = tf.while_loop(unfinished, next_segment, (tf.minimum(2, size), not_found))
    # The two bytes before `Exif\0\0` hold the segment's length. It counts these two bytes and the
    # six of `Exif\0\0`, which are subtracted here.
    length = tf.where(found == not_found, 0, 256 * data[found - 8] + data[found - 7] - 8)
    return tf.strings.substr(encoded, found, length)


def _webp_exif(encoded: tf.Tensor) -> tf.Tensor:
    """The TIFF structure in a WebP's first EXIF chunk; empty if there is none."""
    data = tf.cast(tf.io.decode_raw(encoded, tf.uint8), tf.int32)
    size = tf.size(data)
    data = tf.pad(data, [[0, 16]])  # Reading ahead at the end yields zeros.

    def is_other(chunk):
        return (chunk + 8 <= size) & ~_begins_with(data[chunk:], b"EXIF")

    def length(chunk):
        length = _little_endian(data[chunk + 4 : chunk + 8], 4)
        rest = size - chunk - 8
        return tf.where((length < 0) | (length > rest), rest, length)

    def next_chunk(chunk):
        return chunk + 8 + length(chunk) + length(chunk) % 2

    (chunk,) = tf.while_loop(is_other, next_chunk, (tf.constant(12),))
    found = chunk + 8 <= size
    chunk = tf.where(found, chunk, 0)
    # Some programs write the same six bytes before the structure as in a JPEG.
    skipped = tf.where(_begins_with(data[chunk + 8 :], b"Exif\0\0"), 6, 0)
    structure = tf.strings.substr(encoded, chunk + 8 + skipped, length(chunk) - skipped)
    return tf.where(found, structure, b"")


def _tiff_orientation(structure: tf.Tensor) -> tf.Tensor:
    """Returns the orientation, 1 to 8, in a TIFF structure; 1 if there is none.

    This is `image_files.exif_orientation`, written in TensorFlow ops.
    """
    data = tf.cast(tf.io.decode_raw(tf.strings.substr(structure, 0, 2**16), tf.uint8), tf.int32)
    size = tf.size(data)
    is_big = _begins_with(tf.pad(data, [[0, 4]]), _TIFF_STARTS[1])
    is_tiff = is_big | _begins_with(tf.pad(data, [[0, 4]]), _TIFF_STARTS[0])
    data = tf.pad(data, [[0, 16]])

    def number(values, width):
        values = tf.where(is_big, values[..., ::-1], values)
        return _little_endian(values, width)

    directory = number(data[4:8], 4)
    directory = tf.where((directory < 0) | (directory > size), size, directory)
    declared_count = number(data[directory : directory + 2], 2)
    count = tf.clip_by_value(declared_count, 0, tf.maximum(size - directory - 2, 0) // 12)
    entries = tf.reshape(data[directory + 2 : directory + 2 + 12 * count], (-1, 12))
    # Bytes 8 to 11 of an entry hold its value. A shorter value is in the first of them.
    tag, value_type = number(entries[:, :2], 2), number(entries[:, 2:4], 2)
    is_byte, is_short, is_long = value_type == 1, value_type == 3, value_type == 4
    value = tf.where(is_short, number(entries[:, 8:10], 2), number(entries[:, 8:12], 4))
    value = tf.where(is_byte, entries[:, 8], value)
    is_single_integer = (number(entries[:, 4:8], 4) == 1) & (is_byte | is_short | is_long)
    matches = (tag == _ORIENTATION_TAG) & is_single_integer
    orientation = tf.reduce_max(tf.concat([tf.where(matches, value, 1), [1]], axis=0))
    return tf.where(is_tiff & (orientation <= 8), orientation, 1)


def _little_endian(values: tf.Tensor, width: int) -> tf.Tensor:
    """Converts `width` bytes along the last axis to a little-endian number."""
    return tf.reduce_sum(values * [256**i for i in range(width)], axis=-1)


def _begins_with(data: tf.Tensor, start: bytes) -> tf.Tensor:
    return tf.reduce_all(tf.cast(data[: len(start)], tf.int32) == list(start))


def _require(condition: tf.Tensor, message: str) -> tf.Operation:
    return tf.debugging.Assert(condition, [message])
