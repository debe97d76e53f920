"""Tests of reading and writing picture files."""

import numpy as np
import pytest
from PIL import Image

from examples.pose.images.image_files import (
    ImageError,
    decode_image,
    is_image_name,
    read_image,
    write_image,
)

RAMP = np.arange(6 * 9, dtype=np.uint8).reshape(6, 9) * 4
COLOR = np.stack([RAMP, 255 - RAMP, RAMP // 2], axis=-1)


def test_reads_rgb(tmp_path):
    Image.fromarray(COLOR).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), COLOR)


def test_reads_greyscale(tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.stack([RAMP] * 3, axis=-1))


def test_scales_16_bit_greyscale(tmp_path):
    Image.fromarray(RAMP.astype(np.uint16) * 257).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[..., 0], RAMP)


def test_blends_transparency_with_white(tmp_path):
    alpha = np.where(np.arange(9) < 4, 255, 0).astype(np.uint8) + np.zeros_like(RAMP)
    Image.fromarray(np.dstack([COLOR, alpha])).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(image[:, :4], COLOR[:, :4])
    assert (image[:, 4:] == 255).all()


def test_reads_palettes_and_cmyk(tmp_path):
    red = Image.new("RGB", (9, 6), (255, 0, 0))
    red.quantize(4).save(tmp_path / "a.gif")
    red.convert("CMYK").save(tmp_path / "a.jpg", quality=100)
    for name in ("a.gif", "a.jpg"):
        image = read_image(tmp_path / name)
        assert image.shape == (6, 9, 3)
        np.testing.assert_allclose(image - np.array([255.0, 0, 0]), 0, atol=4)


def test_applies_the_orientation_tag(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # The camera was turned: show it rotated by 90 degrees clockwise.
    Image.fromarray(COLOR).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.rot90(COLOR, -1))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_pixels_can_be_read_as_stored(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(COLOR).save(path, exif=exif, **({"quality": 100} if suffix == "jpg" else {}))
    stored = decode_image(path.read_bytes(), path, turn=False)
    assert stored.shape == COLOR.shape
    np.testing.assert_allclose(stored.astype(int), COLOR, atol=60 if suffix == "jpg" else 0)
    turned = decode_image(path.read_bytes(), path)
    assert turned.shape == (COLOR.shape if orientation < 5 else (9, 6, 3))


def test_raw_photographs_are_not_read_as_their_thumbnail(tmp_path):
    Image.fromarray(COLOR).save(tmp_path / "a.tif", tiffinfo={254: 1})
    with pytest.raises(ImageError, match="thumbnail, as in raw photographs"):
        read_image(tmp_path / "a.tif")


def bad_files(folder):
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(folder / "whole.jpg")
    whole = (folder / "whole.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) * 3 // 4])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.png").write_text("no picture")
    (folder / "folder.png").mkdir()
    return ["truncated.jpg", "empty.jpg", "text.png", "folder.png", "missing.png"]


def test_error_for_a_bad_picture_is_one_line(tmp_path):
    for name in bad_files(tmp_path):
        with pytest.raises(ImageError, match=name) as raised:
            read_image(tmp_path / name)
        assert "\n" not in str(raised.value)


def test_write_image_creates_folders(tmp_path):
    path = tmp_path / "new" / "a.png"
    write_image(path, COLOR)
    np.testing.assert_array_equal(read_image(path), COLOR)
    assert [entry.name for entry in path.parent.iterdir()] == ["a.png"]


def test_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    write_image(path, COLOR)

    def fail(self, target, **kwargs):
        with open(target, "wb") as file:
            file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(ImageError, match="No space left"):
        write_image(path, COLOR // 2)
    np.testing.assert_array_equal(read_image(path), COLOR)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


def test_image_names(tmp_path):
    assert is_image_name("a.PNG") and is_image_name("b/c.jpeg")
    assert not is_image_name("folder") and not is_image_name("a.txt")
    with pytest.raises(ImageError, match=r"a\.txt"):
        write_image(tmp_path / "a.txt", COLOR)


def test_large_pictures_are_read_up_to_a_limit(tmp_path, monkeypatch, recwarn):
    Image.fromarray(COLOR).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", COLOR[..., 0].size - 1)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), COLOR)
    assert not recwarn.list
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(ImageError, match=r"a\.png: has more than 20 pixels\. Make it smaller\."):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1", b"hevc"])
def test_photographs_of_iphones_get_a_hint(brand):
    with pytest.raises(ImageError, match=r"a\.heic: not a picture .*: convert HEIC to JPEG"):
        decode_image(b"\0\0\0\x18ftyp" + brand + bytes(100), "a.heic")
