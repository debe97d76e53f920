"""Draws poses on pictures, with limbs coloured by the person's side; also captions and grids.

Images are NumPy arrays (uint8 RGB) and are drawn with Pillow. Joints are (x, y) in pixels of the
image; (0, 0) is the centre of the top-left pixel.
"""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from examples.pose.datasets.skeletons import NOT_LABELLED, OCCLUDED, VISIBLE

# Colours that colour-blind people can tell apart, bright enough for dark photographs. A dark rim
# separates them from bright photographs.
SIDE_COLORS = {"right": (255, 149, 28), "left": (64, 172, 255), "centre": (250, 246, 232)}
_RIM_COLOR = (20, 20, 24)
_PAPER_COLOR = (255, 255, 255)
_INK_COLOR = (30, 30, 36)

# Shapes are drawn this many times larger and then shrunk, to smooth their edges.
_SUPERSAMPLING = 4
# Largest longer side of a canvas in pixels. Larger pictures get less supersampling.
_MAX_CANVAS = 6144


def draw_pose(image, joints, visibility, skeleton, *, min_size=None):
    """Draws one pose on a copy of an image.

    Limbs and joints have the colour of the person's own side (`SIDE_COLORS`). An occluded joint
    (or, in a prediction, an uncertain one: see `visibility_of_scores`) is a hollow circle, and its
    limbs are dashed. Joints that are not labelled are left out, with their limbs. Line widths are
    proportional to the size of the picture.

    Args:
        image: uint8 array `[height, width, 3]`.
        joints: float array `[joints, 2]`, (x, y) in pixels of `image`. They may lie outside it.
        visibility: integer array `[joints]`: 0 not labelled, 1 occluded, 2 visible.
        skeleton: the `Skeleton` with the joints' names and the limbs. The prefix `right_` or
            `left_` of a joint's name determines its side.
        min_size: a smaller picture is enlarged until its longer side has this many pixels, so that
            the drawing stays legible. `None` keeps the size.

    Returns:
        uint8 array `[height, width, 3]`, of the input's size or enlarged by `min_size`.
    """
    size = math.sqrt(math.prod(np.shape(image)[:2]))
    poses = [joints], [visibility], skeleton, [size]
    return draw_poses(image, *poses, min_size=min_size)


def draw_poses(image, joints, visibility, skeleton, sizes, *, min_size=None):
    """Draws several poses on a copy of an image, each as `draw_pose` does.

    Args:
        image: uint8 array `[height, width, 3]`.
        joints: float array `[people, joints, 2]`, (x, y) in pixels of `image`.
        visibility: integer array `[people, joints]`.
        skeleton: as in `draw_pose`.
        sizes: `[people]`: the size of each person in pixels, which sets the width of lines.
        min_size: as in `draw_pose`.

    Returns:
        uint8 array `[height, width, 3]`, of the input's size or enlarged by `min_size`.
    """
    people = [
        _as_checked_arrays(image, *pose, skeleton)[1:]
        for pose in zip(joints, visibility, strict=True)
    ]
    image = np.asarray(image)
    photo = Image.fromarray(image)
    zoom = max(1.0, (min_size or 0) / max(photo.size))
    if zoom > 1.0:
        photo = photo.resize([max(1, round(side * zoom)) for side in photo.size], Image.BICUBIC)
    # Each side is rounded to whole pixels, so the two axes may have different scales.
    scale = np.array(photo.size) / image.shape[1::-1]
    for (points, flags), size in zip(people, sizes, strict=True):
        width = max(2.0, 0.012 * size * math.sqrt(scale.prod()))
        _paste_pose(photo, (points + 0.5) * scale, flags, skeleton, width)
    return np.asarray(photo)


def visibility_of_scores(scores, min_score):
    """Converts scores of predicted joints to the visibility that `draw_pose` takes.

    Args:
        scores: float array `[joints]`, a prediction's scores.
        min_score: joints with a lower score count as uncertain.

    Returns:
        int32 array `[joints]`: `VISIBLE` (drawn solid) if certain, `OCCLUDED` (hollow) if not.
    """
    return np.where(np.asarray(scores) >= min_score, VISIBLE, OCCLUDED).astype(np.int32)


def draw_caption(image, text):
    """Returns an image with a line of text on a white strip above it."""
    width = image.shape[1]
    font_size = float(np.clip(width / 16, 11, 28))
    # Drawn large and shrunk, like the skeletons: Pillow spaces small letters unevenly.
    font = ImageFont.load_default(size=font_size * _SUPERSAMPLING)
    while text and font.getlength(text) > width * _SUPERSAMPLING:
        text = text[:-1]  # Cut the caption to the width of the picture.
    size = (width, round(1.7 * font_size))
    strip = Image.new("RGB", [side * _SUPERSAMPLING for side in size], _PAPER_COLOR)
    middle = (strip.width / 2, strip.height / 2)
    ImageDraw.Draw(strip).text(middle, text, fill=_INK_COLOR, font=font, anchor="mm")
    return np.concatenate([np.asarray(strip.resize(size, Image.BOX)), image], axis=0)


def draw_comparison(
    image,
    truth,
    visibility,
    prediction,
    scores,
    skeleton,
    *,
    min_score=0.5,
    min_size=None,
    captions=("truth", "prediction"),
):
    """Draws the labelled pose and the predicted one on two copies of an image, side by side.

    Args:
        image: uint8 array `[height, width, 3]`.
        truth: float array `[joints, 2]`, the labelled joints, (x, y) in pixels.
        visibility: integer array `[joints]`: 0 not labelled, 1 occluded, 2 visible.
        prediction: float array `[joints, 2]`, the predicted joints, (x, y) in pixels.
        scores: float array `[joints]`, the prediction's scores.
        skeleton: as in `draw_pose`.
        min_score: predicted joints with a lower score are drawn as uncertain.
        min_size: as in `draw_pose`.
        captions: the two lines of text above the copies.

    Returns:
        uint8 array `[height, width, 3]`: truth on the left, prediction on the right.
    """
    certain = visibility_of_scores(scores, min_score)
    left = draw_pose(image, truth, visibility, skeleton, min_size=min_size)
    right = draw_pose(image, prediction, certain, skeleton, min_size=min_size)
    panels = [draw_caption(left, captions[0]), draw_caption(right, captions[1])]
    return draw_grid(panels, columns=2, gap=2)


def draw_grid(images, columns, *, gap=8):
    """Arranges images in rows and columns on white paper, each centred in its cell.

    A row is as high as its highest image and a column as wide as its widest.

    Args:
        images: sequence of uint8 arrays `[height, width, 3]`, of any sizes; at least one.
        columns: images in a row; the last row may hold fewer.
        gap: pixels between neighbouring cells.

    Returns:
        uint8 array `[height, width, 3]`.
    """
    if not len(images):
        raise ValueError("`images` must hold at least one image, got none.")
    if columns < 1:
        raise ValueError(f"`columns` must be at least 1, got {columns}.")
    columns = min(columns, len(images))
    rows = [images[first : first + columns] for first in range(0, len(images), columns)]
    heights = [max(image.shape[0] for image in row) for row in rows]
    widths = [max(image.shape[1] for image in images[column::columns]) for column in range(columns)]
    tops = np.cumsum([0] + [height + gap for height in heights])
    lefts = np.cumsum([0] + [width + gap for width in widths])
    paper = np.full((tops[-1] - gap, lefts[-1] - gap, 3), _PAPER_COLOR, np.uint8)
    for row, top, cell_height in zip(rows, tops, heights, strict=False):
        for image, left, cell_width in zip(row, lefts, widths, strict=False):
            height, width = image.shape[:2]
            y = top + (cell_height - height) // 2
            x = left + (cell_width - width) // 2
            paper[y : y + height, x : x + width] = image
    return paper


def shrink(image, max_side):
    """Returns a uint8 image `[height, width, 3]` with at most `max_side` pixels on each side."""
    longer = max(image.shape[:2])
    if longer <= max_side:
        return image
    height, width = (max(1, side * max_side // longer) for side in image.shape[:2])
    return np.asarray(Image.fromarray(image).resize((width, height), Image.BOX))


def joint_side(name: str) -> str:
    """Returns the side of a joint by its name: "right", "left" or "centre"."""
    for side in ("right", "left"):
        if name.startswith(side + "_"):
            return side
    return "centre"


def _limb_side(skeleton, limb: Sequence[int]) -> str:
    """Returns "right" or "left" if at least one end is on this side and none is on the other.

    Otherwise returns "centre".
    """
    sides = {joint_side(skeleton.joint_names[joint]) for joint in limb} - {"centre"}
    return sides.pop() if len(sides) == 1 else "centre"


def _as_checked_arrays(image, joints, visibility, skeleton):
    """Converts the arguments of `draw_pose` to NumPy arrays and checks them."""
    image, joints, visibility = np.asarray(image), np.asarray(joints), np.asarray(visibility)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or not image.size:
        raise ValueError(
            "`image` must be a uint8 array [height, width, 3] that is not empty, "
            f"got {image.dtype} {list(image.shape)}."
        )
    count = len(skeleton.joint_names)
    if joints.shape != (count, 2):
        raise ValueError(f"`joints` must have shape [{count}, 2], got {list(joints.shape)}.")
    if visibility.shape != (count,):
        raise ValueError(f"`visibility` must have shape [{count}], got {list(visibility.shape)}.")
    return image, joints.astype(np.float64), visibility


def _paste_pose(photo: Image.Image, points, visibility, skeleton, width: float) -> None:
    """Draws a pose on a picture. Arguments as of `_pose_overlay`."""
    drawn = (visibility > NOT_LABELLED) & np.isfinite(points).all(axis=-1)
    if not drawn.any():
        return
    # The layer covers the joints only, which saves time in large pictures.
    margin = 4 * width
    low = np.clip(points[drawn].min(axis=0) - margin, 0, photo.size).astype(int)
    high = np.clip(points[drawn].max(axis=0) + margin + 1, 0, photo.size).astype(int)
    if (high > low).all():
        size = tuple((high - low).tolist())
        overlay = _pose_overlay(size, points - low, visibility, skeleton, width)
        photo.paste(overlay, tuple(low.tolist()), overlay)


def _pose_overlay(size: tuple[int, int], points, visibility, skeleton, width: float) -> Image.Image:
    """Draws a pose on a transparent layer.

    Args:
        size: (width, height) of the layer in pixels.
        points: float array `[joints, 2]`, (x, y) measured from the layer's top-left CORNER.
        visibility: as in `draw_pose`.
        skeleton: as in `draw_pose`.
        width: Width of the limbs in pixels.
    """
    factor = max(1, min(_SUPERSAMPLING, _MAX_CANVAS // max(size)))
    width = factor * width
    rim = max(1.0, 0.3 * width)
    canvas = Image.new("RGBA", (size[0] * factor, size[1] * factor), (*_RIM_COLOR, 0))
    draw = ImageDraw.Draw(canvas)
    drawn = (visibility > NOT_LABELLED) & np.isfinite(points).all(axis=-1)
    # Pillow's integer coordinates are pixel centres. Clipping keeps them from overflowing.
    limit = 16.0 * max(canvas.size)
    points = np.clip(np.where(drawn[:, None], points, 0.0) * factor - 0.5, -limit, limit)

    strokes = []
    for start, end in skeleton.limbs:
        if drawn[start] and drawn[end]:
            dashed = min(visibility[start], visibility[end]) == OCCLUDED
            color = SIDE_COLORS[_limb_side(skeleton, (start, end))]
            pieces = _dashes(points[start], points[end], 4.5 * width) if dashed else None
            strokes.append((pieces or [(points[start], points[end])], color))
    for pieces, color in strokes:
        for start, end in pieces:
            _stroke(draw, start, end, width + 2 * rim, _RIM_COLOR)
        for start, end in pieces:
            _stroke(draw, start, end, width, color)

    for index in np.flatnonzero(drawn):
        color = SIDE_COLORS[joint_side(skeleton.joint_names[index])]
        _disc(draw, points[index], width + rim, _RIM_COLOR)
        _disc(draw, points[index], width, color)
        if visibility[index] == OCCLUDED:  # A transparent hole.
            _disc(draw, points[index], 0.62 * width, _RIM_COLOR, alpha=0)
    return canvas.resize(size, Image.BOX) if factor > 1 else canvas


def _stroke(draw, start, end, width: float, color) -> None:
    """Draws a straight line with round ends."""
    draw.line(
        [round(side) for side in (*start, *end)], fill=(*color, 255), width=max(1, round(width))
    )
    for point in (start, end):
        _disc(draw, point, width / 2, color)


def _disc(draw, centre, radius: float, color, alpha: int = 255) -> None:
    x, y = centre
    box = (x - radius, y - radius, x + radius, y + radius)
    draw.ellipse([round(side) for side in box], fill=(*color, alpha))


def _dashes(start, end, period: float) -> list:
    """Divides a line into dashes that cover about half of it, with a dash at each end."""
    length = float(np.hypot(*(end - start)))
    count = min(max(1, round(length / period)), 64)
    marks = np.linspace(0.0, 1.0, 2 * count)
    return [
        (start + (end - start) * marks[i], start + (end - start) * marks[i + 1])
        for i in range(0, 2 * count, 2)
    ]
