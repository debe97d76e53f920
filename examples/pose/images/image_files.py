"""Reads image files of any format, mode and orientation as RGB, and writes images.

`predict`, the data sets and the serving client use `decode_image`. Exported models decode pictures
in TensorFlow, to the same pixels: see `encoded_images`.
"""

import argparse
import io
import warnings
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from examples.pose.cli import command_line
from examples.pose.cli.errors import UserError
from examples.pose.files.atomic_write import atomic_write

_SIZES_OF_INTEGERS = {1: 1, 3: 2, 4: 4}  # In bytes, by TIFF's number of the type.
_NEW_SUBFILE_TYPE = 254  # A tag of TIFF. Its lowest bit marks a smaller copy of another picture.
# Beginnings of HEIC files, as iPhones write them. Pillow cannot read them without a plugin.
_HEIC_STARTS = (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftyphevc")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_INVERSE_TURNS = {6: 8, 8: 6}  # The others are their own inverses.


class ImageError(UserError):
    """A picture that cannot be read; the message names the file and the reason."""


class ImageWriteError(ImageError):
    """A picture that cannot be written; the message names the file and the reason."""


def read_image(path) -> np.ndarray:
    """Reads a picture file as uint8 RGB `[height, width, 3]`. See `decode_image`.

    Raises:
        ImageError: The file is missing, is not a picture, or is damaged.
    """
    if not str(path):
        raise ImageError("The name of a picture is empty.")
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file{_hint(str(path))}.") from None
    except IsADirectoryError:
        raise ImageError(
            f"{path}: is a folder, not a picture. Give its pictures, such as {path}/*.jpg."
        ) from None
    except (OSError, ValueError) as error:
        raise ImageError(f"{path}: cannot be read: {_reason(error)}.") from None
    return decode_image(data, path)


def decode_image(data: bytes, name, turn: bool = True) -> np.ndarray:
    """Decodes the content of a picture file to uint8 RGB `[height, width, 3]`, as viewers show it.

    The EXIF orientation is applied and transparency is blended with white. Palettes and CMYK are
    converted to RGB, 16-bit channels are reduced to their high byte, and an animation to its first
    frame. Colour profiles and gamma are ignored.

    Args:
        data: The file's content.
        name: The file's name, for messages.
        turn: Whether to apply the EXIF orientation. Otherwise pixels are returned as stored.

    Raises:
        ImageError: The file is not a picture, is damaged, or is of a kind that Pillow misreads.
    """
    try:
        # Pillow warns of large pictures and damaged EXIF data. Neither changes the pixels.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                _correct_transparency(image)
                _refuse_thumbnail(image)
                orientation = _load(image, turn)
                return np.array(_apply_orientation(_as_rgb(image), orientation))
    except Image.UnidentifiedImageError:
        hint = ": convert HEIC to JPEG" if data[4:12] in _HEIC_STARTS else ""
        raise ImageError(f"{name}: not a picture in a known format{hint}.") from None
    except Image.DecompressionBombError:
        limit = 2 * Image.MAX_IMAGE_PIXELS  # Pillow only warns up to twice its own limit.
        raise ImageError(f"{name}: has more than {limit:,} pixels. Make it smaller.") from None
    # Pillow's decoders raise almost any exception on damaged files.
    except Exception as error:
        raise ImageError(f"{name}: cannot be read: {_reason(error)}.") from None


def is_plain_jpeg(data: bytes) -> bool:
    """Whether a file is a JPEG that any decoder reads alike: not CMYK, and not to be rotated."""
    with Image.open(io.BytesIO(data)) as image:
        plain = image.format in ("JPEG", "MPO") and image.mode in ("L", "RGB")
        return plain and _orientation(image) == 1


def write_image(path, image: np.ndarray) -> None:
    """Writes a uint8 RGB picture atomically, in the format that the path's suffix names.

    Raises:
        ImageWriteError: The suffix is of no known format, or the file cannot be written.
    """
    path = Path(path)
    if not is_image_name(path):
        raise ImageWriteError(f"{path}: the name must end like a picture's, for instance in .png.")
    try:
        with atomic_write(path) as temporary:
            Image.fromarray(image).save(temporary, quality=92)
    # Pillow's encoders raise ValueError for pictures that are too large for the format.
    except (OSError, ValueError) as error:
        raise ImageWriteError(f"{path}: cannot be written: {_reason(error)}.") from None


def is_image_name(path) -> bool:
    """Whether `write_image` can write a picture with the suffix of this path."""
    return Path(path).suffix.lower() in (".png", ".jpg", ".jpeg", ".webp")


def new_picture(text: str) -> Path:
    """Argument type: the path of a picture to write. It may replace an existing file."""
    path = command_line.new_file(text)
    if not is_image_name(path):
        raise argparse.ArgumentTypeError(f"must end in .png, .jpg or .webp, got {text}")
    return path


def exif_orientation(structure: bytes) -> int:
    """Returns the orientation, 1 to 8, in a TIFF structure's first directory; 1 if there is none.

    `encoded_images` has the same function in TensorFlow ops. Pillow's own function also reads the
    orientation in XMP data, which browsers ignore.
    """
    byte_order = {b"II*\0": "little", b"MM\0*": "big"}.get(structure[:4])
    if byte_order is None:
        return 1

    def number(position, size):
        return int.from_bytes(structure[position : position + size], byte_order)

    directory, found = number(4, 4), 1
    count = min(number(directory, 2), max(len(structure) - directory - 2, 0) // 12)
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        size = _SIZES_OF_INTEGERS.get(number(entry + 2, 2))
        if number(entry, 2) == ExifTags.Base.Orientation and size and number(entry + 4, 4) == 1:
            found = max(found, number(entry + 8, size))
    return found if found <= 8 else 1


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    return exif_orientation(image.info.get("exif", b"").removeprefix(b"Exif\0\0"))


def _refuse_thumbnail(image: Image.Image) -> None:
    """Raises a `ValueError` for raw photographs: Pillow reads their first picture, a thumbnail."""
    if image.format == "TIFF" and image.tag_v2.get(_NEW_SUBFILE_TYPE, 0) & 1:
        raise ValueError(
            "its first picture is a thumbnail, as in raw photographs. Convert it to JPEG"
        )


def _load(image: Image.Image, turn: bool) -> int:
    """Loads the pixels. Returns the orientation that remains to be applied.

    Pillow applies that of a TIFF file while it loads the pixels.
    """
    before = _orientation(image) if image.format == "TIFF" else None
    image.load()
    after = _orientation(image)
    if turn:
        return after
    return 1 if before in (None, after) else _INVERSE_TURNS.get(before, before)


def _apply_orientation(image: Image.Image, orientation: int) -> Image.Image:
    method = _TURNS.get(orientation)
    return image if method is None else image.transpose(method)


def _hint(path: str) -> str:
    if path == "-":
        return " (standard input is not read: give a file)"
    if path.startswith(("http:", "https:")):
        return " (download it first: addresses are not read)"
    if any(character in path for character in "*?["):
        return " (no file matches)"
    return ""


def _reason(error: Exception) -> str:
    """The message of an error on one line, without the file's name."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split()).rstrip(".")


def _correct_transparency(image: Image.Image) -> None:
    """Scales a PNG's transparent grey value (tRNS) to 8 bits, as Pillow scales the pixels.

    Raises:
        ValueError: The transparent colour has 16 bits per channel. Pillow keeps only 8 in the
            pixels, so they cannot be compared with it.
    """
    if image.format != "PNG" or "transparency" not in image.info or not image.tile:
        return
    raw_mode = image.tile[0][3]
    if raw_mode in ("L;2", "L;4"):
        image.info["transparency"] *= 85 if raw_mode == "L;2" else 17
    elif raw_mode == "RGB;16B":
        raise ValueError("16-bit PNG files with one transparent colour are not supported")


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_grey_bytes(image)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _grey_bytes(image: Image.Image) -> np.ndarray:
    """Converts greyscale of more than 8 bits to uint8. Pillow would clip it to 255."""
    pixels = np.asarray(image)
    if image.mode == "F":  # Floats have no defined range; 0 to 255 is assumed.
        return np.clip(np.nan_to_num(pixels) + 0.5, 0, 255).astype(np.uint8)
    grey = (np.clip(pixels, 0, 65535) >> 8).astype(np.uint8)
    transparent = image.info.get("transparency")
    return grey if transparent is None else np.where(pixels == transparent, np.uint8(255), grey)
