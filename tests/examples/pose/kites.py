"""Draws pictures of kites with labels in the format of COCO: own data that shows no people.

A kite has six joints: nose, left and right wing, tail, and two knots of its string. A picture shows
one to three kites.
"""

import json
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

JOINTS = ["nose", "Left Wing", "Right Wing", "tail", "knot 1", "knot 2"]
LIMBS = [[1, 2], [1, 3], [2, 4], [3, 4], [4, 5], [5, 6]]
# In units of the kite's length, along and across its axis.
SHAPE = np.array([(0, 0), (0.35, -0.4), (0.35, 0.4), (1, 0), (1.25, 0.1), (1.5, -0.1)])
COLOUR = (220, 60, 50)
CATEGORY = {"id": 3, "name": "kite", "keypoints": JOINTS, "skeleton": LIMBS}
SIZE = (120, 90)


def write(folder, count: int, seed: int = 0) -> Path:
    """Draws pictures into `folder / "pictures"`. Returns the file of their labels."""
    pictures = Path(folder) / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    content = {"images": [], "annotations": [], "categories": [CATEGORY]}
    for number in range(1, count + 1):
        name = f"{seed}_{number:03}.jpg"
        content["images"].append({"id": number, "file_name": name})
        picture = Image.new("RGB", SIZE, tuple(random.integers(120, 200, 3).tolist()))
        for place in range(random.integers(1, 4)):
            joints = _draw_kite(picture, random, centre=(20 + 40 * place, random.uniform(25, 65)))
            content["annotations"].append(
                {
                    "id": len(content["annotations"]),
                    "image_id": number,
                    "category_id": CATEGORY["id"],
                    "keypoints": [v for x, y in joints for v in (x, y, 2)],
                }
            )
        picture.save(pictures / name)
    labels = Path(folder) / f"labels{seed}.json"
    labels.write_text(json.dumps(content))
    return labels


def _draw_kite(picture, random, centre) -> list[tuple[float, float]]:
    """Draws a kite. Returns its joints, which lie inside the picture."""
    angle, length = random.uniform(-math.pi, math.pi), random.uniform(16, 20)
    axis = np.array([math.cos(angle), math.sin(angle)])
    across = np.array([-axis[1], axis[0]])
    points = centre + length * ((SHAPE[:, :1] - 0.75) * axis + SHAPE[:, 1:] * across)
    points = np.clip(points, 1, np.array(SIZE) - 2)
    nose, left, right, tail, *knots = map(tuple, points)
    draw = ImageDraw.Draw(picture)
    draw.line([tail, *knots], fill=(20, 20, 20), width=1)
    draw.polygon([nose, left, tail, right], fill=COLOUR, outline=(90, 20, 20))
    for x, y in knots:
        draw.ellipse([x - 1.5, y - 1.5, x + 1.5, y + 1.5], fill=(20, 20, 20))
    return [(round(x, 1), round(y, 1)) for x, y in points.tolist()]
