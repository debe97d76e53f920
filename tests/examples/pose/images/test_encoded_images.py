"""Tests that `predict`, the data sets and exported models get the same pixels from a file."""

import io
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from examples.pose import datasets
from examples.pose.datasets import leeds_sports, official_files, pose_features
from examples.pose.images import encoded_images
from examples.pose.images.image_files import ImageError, decode_image, read_image
from tests.examples.pose.picture_kinds import EXPECTED, HEIGHT, KINDS, WIDTH, save

# Kinds that exported models reject but `predict` reads, with a part of the message.
REFUSED_BY_SERVING = {
    "jpeg_cmyk": "CMYK",
    "bmp_palette": "24-bit",
    "bmp_grey": "24-bit",
    "bmp_bilevel": "24-bit",
    "bmp_32": "24-bit",
    "bmp_alpha": "24-bit",
    "bmp_rle": "24-bit",
    "gif": "Send JPEG, PNG",
    "gif_transparent": "Send JPEG, PNG",
    "gif_animated": "Send JPEG, PNG",
    "webp_animated": "Animated WebP",
    "tiff": "Send JPEG, PNG",
}
REFUSED_BY_PREDICT = {"png_16_transparent": "16-bit PNG files with one transparent colour"}
# Largest difference between the JPEG encoders of tfds and Pillow at quality 95, at which pictures
# that are not plain JPEG files are stored.
STORED_TOLERANCE = 8


@pytest.fixture(scope="module")
def serving():
    """`encoded_images.decode` as a graph, as in an exported model."""
    return tf.function(
        encoded_images.decode, input_signature=[tf.TensorSpec([], tf.string, "encoded")]
    )


def decoded(kind):
    if kind in REFUSED_BY_PREDICT:
        with pytest.raises(ImageError, match=REFUSED_BY_PREDICT[kind]) as raised:
            decode_image(KINDS[kind], kind)
        assert "\n" not in str(raised.value)
        pytest.skip("refused")
    return decode_image(KINDS[kind], kind)


@pytest.mark.parametrize("kind", KINDS)
def test_predict_and_serving_decode_the_same_pixels(serving, kind):
    if kind in REFUSED_BY_SERVING:
        with pytest.raises(tf.errors.InvalidArgumentError, match=REFUSED_BY_SERVING[kind]):
            serving(tf.constant(KINDS[kind]))
        assert decoded(kind).shape == (HEIGHT, WIDTH, 3)
    else:
        np.testing.assert_array_equal(serving(tf.constant(KINDS[kind])), decoded(kind))


@pytest.mark.parametrize("kind", EXPECTED)
def test_pixels_are_what_a_viewer_shows(kind):
    np.testing.assert_allclose(decoded(kind).astype(int), EXPECTED[kind], atol=1)


@pytest.mark.parametrize("kind", KINDS)
def test_data_sets_and_predict_read_the_same_pixels(tmp_path, kind):
    path = tmp_path / "images" / "im01.jpg"
    path.parent.mkdir()
    path.write_bytes(KINDS[kind])
    if kind in REFUSED_BY_PREDICT:
        with pytest.raises(ValueError, match=REFUSED_BY_PREDICT[kind]):
            official_files.read_rgb(path, "labels")
        return
    image = decoded(kind)
    np.testing.assert_array_equal(official_files.read_rgb(path, "labels"), image)
    # Write the picture into a record and read it again.
    pictures = official_files.PictureFolder(path.parent)
    stored = leeds_sports.read_picture(tmp_path, pictures, path.stem, 1)
    feature = tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg")
    encoded = feature.encode_example(stored)
    again = _decode(encoded, feature)
    if isinstance(stored, io.BytesIO):
        np.testing.assert_array_equal(again, image)
    else:
        as_jpeg = decode_image(save(Image.fromarray(image), "JPEG", quality=95), kind)
        np.testing.assert_allclose(again.astype(int), as_jpeg, atol=STORED_TOLERANCE)
    assert again.shape == image.shape


def _decode(encoded, feature):
    decoder = pose_features.decode_jpeg()
    decoder.setup(feature=feature)
    return decoder.decode_example(tf.constant(encoded)).numpy()


@pytest.mark.parametrize(
    "start", ["jpeg", "png", "bmp", "webp", "jpeg_orientation_6", "webp_orientation_6"]
)
def test_damaged_files_are_rejected_or_decoded_alike(serving, start):
    """Truncated files, and files with changed header bytes."""
    data = KINDS[start]
    random = np.random.default_rng(0)
    broken = [data[:n] for n in (0, 1, 2, 3, 20, 30, 54, 60, len(data) // 2, len(data) - 30)]
    for _ in range(40):
        changed = bytearray(data)
        changed[random.integers(0, 120)] = random.integers(0, 256)
        broken.append(bytes(changed))
    refused = 0
    for content in broken:
        try:
            from_pillow = decode_image(content, "file")
            from_tensorflow = serving(tf.constant(content)).numpy()
        except (ImageError, tf.errors.InvalidArgumentError):
            refused += 1
            continue
        assert from_pillow.shape == from_tensorflow.shape
    assert refused >= 10


def test_large_pictures_are_rejected(monkeypatch):
    monkeypatch.setattr(encoded_images, "MAX_PIXELS", HEIGHT * WIDTH - 1)
    for kind in ("jpeg", "png", "webp", "bmp", "png_palette"):
        with pytest.raises(tf.errors.InvalidArgumentError, match="Pictures may have at most"):
            encoded_images.decode(tf.constant(KINDS[kind]))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("-", "standard input"),
        ("https://host/a.jpg", "download"),
        ("x/*.jpg", "no file matches"),
        (".", r"Give its pictures, such as \./\*\.jpg"),
        ("none.jpg", "no such file"),
        ("a\0b", "cannot be read"),
    ],
)
def test_error_for_a_path_that_is_not_a_file_has_a_hint(name, hint):
    with pytest.raises(ImageError, match=hint) as raised:
        read_image(name)
    assert "\n" not in str(raised.value)


def test_prepared_records_have_the_pixels_of_predict(tmp_path):
    folder = Path(datasets.__file__).parent / "lsp" / "dummy_data"
    examples, _ = datasets.load("lsp", "test", str(folder), str(tmp_path))
    for example in examples.as_numpy_iterator():
        path = folder / "lsp" / "images" / f"{example['id'].decode()}.jpg"
        np.testing.assert_array_equal(example["image"], read_image(path))
