"""Reads pictures as people have them (any format, mode and orientation) and writes them whole."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from examples.pose.run_folder import whole_file


class ImageError(Exception):
    """A picture that cannot be read or written; the message names the file and the reason."""


def read_image(path) -> np.ndarray:
    """Reads a picture as uint8 RGB `[height, width, 3]`, the way a viewer shows it.

    The camera's orientation tag is applied, transparency is laid on white, 16-bit greyscale is
    brought to 8 bits, palettes and CMYK become RGB, and of an animation the first frame is taken.

    Raises:
        ImageError: the file is missing, is not a picture, or is damaged.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return np.array(_as_rgb(ImageOps.exif_transpose(image)))
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file.") from None
    except IsADirectoryError:
        raise ImageError(f"{path}: is a folder, not a picture.") from None
    except Image.UnidentifiedImageError:
        raise ImageError(f"{path}: not a picture in a known format.") from None
    # Decoders meet damaged files with many kinds of error; none of them is worth a traceback.
    except (Image.DecompressionBombError, OSError, SyntaxError, ValueError, EOFError) as error:
        raise ImageError(f"{path}: cannot be read: {error}.") from None


def write_image(path, image: np.ndarray) -> None:
    """Writes a uint8 RGB picture in the format its name tells; nothing half-written is left behind.

    Raises:
        ImageError: the name tells no known format, or the file cannot be written.
    """
    path = Path(path)
    if not is_image_name(path):
        raise ImageError(f"{path}: the name must end like a picture's, for instance in .png.")
    try:
        with whole_file(path) as temporary:
            Image.fromarray(image).save(temporary, quality=92)
    except OSError as error:
        raise ImageError(f"{path}: cannot be written: {error.strerror or error}.") from None


def is_image_name(path) -> bool:
    """Whether a file of this name would be written as a picture."""
    return Path(path).suffix.lower() in (".png", ".jpg", ".jpeg", ".webp")


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        # Pillow would clip these to 255 instead of scaling them. A 16-bit picture has mode I;16, or
        # I where the format is older; mode F carries no range of its own and is taken as 0..255.
        pixels = np.asarray(image, np.float64) / (1 if image.mode == "F" else 257)
        return Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")
