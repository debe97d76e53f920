"""Small picture files of many kinds, made with Pillow or byte by byte, and their pixels."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 24, 32
_RANDOM = np.random.default_rng(0)
ORIENTATION = 0x0112


def _smooth(*channels):
    coarse = Image.fromarray(_RANDOM.integers(0, 256, (4, 5, *channels), dtype=np.uint8))
    return np.array(coarse.resize((WIDTH, HEIGHT), Image.BICUBIC))


COLOUR, ALPHA = _smooth(3), _smooth()
ALPHA[:4], ALPHA[-4:] = 0, 255
GREY = COLOUR[..., 0].copy()
GREY_16 = _RANDOM.integers(0, 2**16, (HEIGHT, WIDTH), dtype=np.uint16)
COLOUR_16 = _RANDOM.integers(0, 2**16, (HEIGHT, WIDTH, 3), dtype=np.uint16)
ALPHA_16 = _RANDOM.integers(0, 2**16, (HEIGHT, WIDTH), dtype=np.uint16)


def save(image, file_format, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def exif(orientation, big_endian=False) -> Image.Exif:
    tags = Image.Exif()
    tags.endian = ">" if big_endian else "<"
    tags[0x010F] = "maker"
    tags[ORIENTATION] = orientation
    return tags


def _chunk(name: bytes, content: bytes) -> bytes:
    crc = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + crc


def png(depth, colour_type, pixels, before=b"", after=b"") -> bytes:
    """A PNG of packed rows, with chunks before and after the pixels."""
    rows = pixels.reshape(HEIGHT, -1)
    rows = rows.astype(">u2").view(np.uint8) if depth == 16 else rows.astype(np.uint8)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows.reshape(HEIGHT, -1)))
    chunks = [_chunk(b"IHDR", header), before, _chunk(b"IDAT", data), after, _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _packed(bits):
    return _RANDOM.integers(0, 256, (HEIGHT, WIDTH * bits // 8))


def _transparent(*values) -> bytes:
    return _chunk(b"tRNS", struct.pack(f">{len(values)}H", *map(int, values)))


def _top_down(bmp: bytes) -> bytes:
    changed = bytearray(bmp)
    struct.pack_into("<i", changed, 22, -HEIGHT)
    return bytes(changed)


def _rle_bmp(indices: np.ndarray, palette: bytes) -> bytes:
    """A BMP of 256 colours in runs of one pixel."""
    rows = b"".join(b"".join(bytes([1, i]) for i in row) + b"\0\0" for row in indices[::-1])
    data, start = rows + b"\0\1", 14 + 40 + len(palette)
    header = struct.pack("<2sIHHI", b"BM", start + len(data), 0, 0, start)
    info = (40, WIDTH, HEIGHT, 1, 8, 1, len(data), 0, 0, len(palette) // 4, 0)
    return header + struct.pack("<IiiHHIIiiII", *info) + palette + data


def _bmp_with_alpha() -> bytes:
    """A BMP of 32 bits whose header has a mask for alpha."""
    pixels = np.dstack([COLOUR[..., ::-1], ALPHA])[::-1].tobytes()
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<2sIHHI", b"BM", 14 + 108 + len(pixels), 0, 0, 14 + 108)
    info = struct.pack("<IiiHHIIiiII", 108, WIDTH, HEIGHT, 1, 32, 3, len(pixels), 0, 0, 0, 0)
    return header + info + struct.pack("<IIII", *masks) + bytes(52) + pixels


def _animation(file_format, **options) -> bytes:
    frames = [Image.fromarray(np.roll(COLOUR, k)).quantize(16) for k in range(3)]
    return save(frames[0], file_format, save_all=True, append_images=frames[1:], **options)


def _kinds() -> dict[str, bytes]:
    colour, grey = Image.fromarray(COLOUR), Image.fromarray(GREY)
    palette = colour.quantize(16)
    alpha = Image.fromarray(np.dstack([COLOUR, ALPHA]))
    grey_alpha = Image.merge("LA", [grey, Image.fromarray(ALPHA)])
    kinds = {
        "jpeg": save(colour, "JPEG"),
        "jpeg_444": save(colour, "JPEG", subsampling=0, quality=97),
        "jpeg_422": save(colour, "JPEG", subsampling=1),
        "jpeg_low_quality": save(colour, "JPEG", quality=15),
        "jpeg_progressive": save(colour, "JPEG", progressive=True),
        "jpeg_rgb": save(colour, "JPEG", keep_rgb=True),
        "jpeg_grey": save(grey, "JPEG"),
        "jpeg_cmyk": save(colour.convert("CMYK"), "JPEG"),
        "jpeg_icc": save(colour, "JPEG", icc_profile=bytes(range(256)) * 300),
        "png": save(colour, "PNG"),
        "png_grey": save(grey, "PNG"),
        "png_bilevel": save(grey.convert("1"), "PNG"),
        "png_palette": save(palette, "PNG"),
        "png_palette_alpha": save(palette, "PNG", transparency=bytes([0, 100, 7] + [255] * 13)),
        "png_palette_transparent": save(palette, "PNG", transparency=3),
        "png_alpha": save(alpha, "PNG"),
        "png_grey_alpha": save(grey_alpha, "PNG"),
        "png_transparent": save(colour, "PNG", transparency=tuple(map(int, COLOUR[3, 3]))),
        "png_grey_transparent": save(grey, "PNG", transparency=int(GREY[3, 3])),
        "png_grey_4": png(4, 0, _packed(4)),
        "png_grey_2": png(2, 0, _packed(2)),
        "png_grey_4_transparent": png(4, 0, _packed(4), _transparent(7)),
        "png_grey_2_transparent": png(2, 0, _packed(2), _transparent(1)),
        "png_bilevel_transparent": png(1, 0, _packed(1), _transparent(1)),
        "png_grey_16": png(16, 0, GREY_16),
        "png_grey_16_transparent": png(16, 0, GREY_16, _transparent(GREY_16[3, 3])),
        "png_grey_16_alpha": png(16, 4, np.dstack([GREY_16, ALPHA_16])),
        "png_16": png(16, 2, COLOUR_16),
        "png_16_transparent": png(16, 2, COLOUR_16, _transparent(*COLOUR_16[3, 3])),
        "png_16_alpha": png(16, 6, np.dstack([COLOUR_16, ALPHA_16])),
        "png_gamma": png(8, 2, COLOUR, _chunk(b"gAMA", struct.pack(">I", 100000))),
        "png_interlaced": _INTERLACED,
        "png_turned_after_pixels": png(8, 2, COLOUR, b"", _chunk(b"eXIf", exif(6).tobytes()[6:])),
        "bmp": save(colour, "BMP"),
        "bmp_odd_width": save(colour.crop((0, 0, WIDTH - 1, HEIGHT)), "BMP"),
        "bmp_top_down": _top_down(save(colour, "BMP")),
        "bmp_palette": save(palette, "BMP"),
        "bmp_grey": save(grey, "BMP"),
        "bmp_bilevel": save(grey.convert("1"), "BMP"),
        "bmp_32": save(alpha, "BMP"),
        "bmp_alpha": _bmp_with_alpha(),
        "bmp_rle": _rle_bmp(np.asarray(palette), _bmp_palette(palette)),
        "gif": save(palette, "GIF"),
        "gif_transparent": save(palette, "GIF", transparency=3),
        "gif_animated": _animation("GIF", disposal=2),
        "webp": save(colour, "WEBP"),
        "webp_alpha": save(alpha, "WEBP"),
        "webp_animated": _animation("WEBP"),
        "webp_lossless_alpha": save(alpha, "WEBP", lossless=True),
        "webp_odd_size": save(colour.crop((0, 0, WIDTH - 1, HEIGHT - 3)), "WEBP"),
        "webp_orientation_6": save(colour, "WEBP", exif=exif(6)),
        "webp_orientation_8": save(alpha, "WEBP", exif=exif(8, big_endian=True).tobytes()[6:]),
        "tiff": save(colour, "TIFF"),
        "xmp_orientation": save(colour, "JPEG", xmp=b'<x tiff:Orientation="6"/>'),
    }
    for orientation in range(10):  # 0 and 9 are invalid and ignored.
        kinds[f"jpeg_orientation_{orientation}"] = save(
            colour, "JPEG", exif=exif(orientation, big_endian=orientation % 2 == 0)
        )
        kinds[f"png_orientation_{orientation}"] = save(
            alpha, "PNG", exif=exif(orientation, big_endian=orientation % 2 == 1)
        )
    return kinds


def _bmp_palette(image: Image.Image) -> bytes:
    colours = np.zeros((256, 4), np.uint8)
    rgb = np.array(image.getpalette(), np.uint8).reshape(-1, 3)
    colours[: len(rgb), :3] = rgb[:, ::-1]
    return colours.tobytes()


def _interlace() -> bytes:
    """The seven passes of an interlaced PNG."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
    data = b""
    for top, left, down, right in [*passes, (1, 0, 2, 1)]:
        data += b"".join(b"\0" + row.tobytes() for row in COLOUR[top::down, left::right])
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 1)
    chunks = [_chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(data)), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


_INTERLACED = _interlace()
KINDS = _kinds()
_WHITE = np.full_like(COLOUR, 255)


def _blended(colour, alpha):
    return np.rint((colour * (alpha / 255.0)[..., None]) + 255.0 - alpha[..., None]).astype(
        np.uint8
    )


# The decoded pixels of some kinds, computed without a decoder.
EXPECTED = {
    "png": COLOUR,
    "png_interlaced": COLOUR,
    "png_gamma": COLOUR,
    "png_alpha": _blended(COLOUR, ALPHA),
    "png_grey_alpha": _blended(np.dstack([GREY] * 3), ALPHA),
    "png_grey_16": np.dstack([GREY_16 >> 8] * 3),
    "png_16": COLOUR_16 >> 8,
    "png_16_alpha": _blended(COLOUR_16 >> 8, ALPHA_16 >> 8),
    "png_transparent": np.where((COLOUR[3, 3] == COLOUR).all(-1, keepdims=True), _WHITE, COLOUR),
    "png_turned_after_pixels": np.rot90(COLOUR, -1),
    "png_orientation_6": np.rot90(_blended(COLOUR, ALPHA), -1),
    "png_orientation_3": _blended(COLOUR, ALPHA)[::-1, ::-1],
    "webp_lossless_alpha": _blended(COLOUR, ALPHA),
    "bmp": COLOUR,
    "bmp_top_down": COLOUR[::-1],
}
