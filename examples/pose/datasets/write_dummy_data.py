"""Writes tiny data sets of drawn figures in the official layouts, for the tests.

python -m examples.pose.datasets.write_dummy_data
"""

from __future__ import annotations

import io
import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.io
from PIL import Image

from examples.pose.cli import command_line
from examples.pose.datasets.skeletons import (
    COCO_SKELETON,
    LSP_SKELETON,
    MPII_SKELETON,
    NOT_LABELLED,
    VISIBLE,
)
from examples.pose.datasets.stick_figures.figure import Figure, draw_figure

_IMAGE_SIZE = 40
_PEOPLE_SIZE = 64  # Side of each figure in the data sets whose images hold several people.


def _write_leeds(
    folder: pathlib.Path, figures: list[Figure], joints: np.ndarray, digits: int
) -> None:
    """Writes one of the Leeds Sports Pose data sets in the official layout."""
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    for number, figure in enumerate(figures, start=1):
        (images / f"im{number:0{digits}d}.jpg").write_bytes(figure.to_jpeg().getvalue())
    scipy.io.savemat(folder / "joints.mat", {"joints": joints}, do_compression=True)


def _figures(cut_off: bool, count: int, size: int = _IMAGE_SIZE) -> list[Figure]:
    """Draws figures that each have a hidden joint: outside the image if `cut_off`, else inside."""
    figures = (draw_figure(0, "dummy", index, size) for index in range(1000))
    suitable = (
        figure
        for figure in figures
        if (figure.visibility == NOT_LABELLED).any() == cut_off
        and (figure.visibility != VISIBLE).any()
    )
    return [next(suitable) for _ in range(count)]


def _labels(figures: list[Figure]) -> tuple[np.ndarray, np.ndarray]:
    """Returns `[n, 14, 2]` joints counted from 1, and `[n, 14]` visibility."""
    visibility = np.stack([figure.visibility for figure in figures])
    joints = np.stack([figure.joints for figure in figures]).astype(np.float64) + 1
    return np.where(visibility[..., None] == NOT_LABELLED, 0, joints), visibility


def _write_row(path: pathlib.Path, figures: Sequence[Figure]) -> None:
    """Writes figures side by side as one JPEG file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = io.BytesIO()
    row = np.concatenate([figure.image for figure in figures], axis=1)
    Image.fromarray(row).save(file, "JPEG", quality=85)
    path.write_bytes(file.getvalue())


def _positions(figure: Figure, column: int) -> dict[str, tuple[np.ndarray, int]]:
    """Returns the joints of the figure in a column: by name, position (from 0) and visibility."""
    joints = figure.joints.astype(np.float64) + (column * _PEOPLE_SIZE, 0)
    labels = zip(joints, figure.visibility, strict=True)
    return dict(zip(LSP_SKELETON.joint_names, labels, strict=True))


def _structs(records: list[dict[str, Any]]) -> Any:
    """Converts records to a struct array as MATLAB writes it. Missing fields are empty."""
    names = list(dict.fromkeys(name for record in records for name in record))
    array = np.empty((1, len(records)), dtype=[(name, object) for name in names])
    for index, record in enumerate(records):
        for name in names:
            array[0, index][name] = record.get(name, np.zeros((0, 0)))
    return array if records else np.zeros((0, 0))


def _mpii_point(number: int, position: np.ndarray, visible: Any = None) -> dict[str, Any]:
    point = {"x": position[0] + 1, "y": position[1] + 1, "id": number}
    return point if visible is None else {**point, "is_visible": visible}


def _mpii_position(column: int) -> dict[str, Any]:
    """The fields with a person's position. People in `test` have them too."""
    return {
        "scale": _PEOPLE_SIZE / 200,
        "objpos": {"x": (column + 0.5) * _PEOPLE_SIZE, "y": 0.4 * _PEOPLE_SIZE},
    }


def _mpii_person(figure: Figure, column: int, limit: int | None = None) -> dict[str, Any]:
    """An `annorect` with the figure's joints, or only the first `limit` of them."""
    known = _positions(figure, column)
    for name, side in (("pelvis", "hip"), ("thorax", "shoulder")):
        ends = [known[f"{left_or_right}_{side}"] for left_or_right in ("left", "right")]
        known[name] = ((ends[0][0] + ends[1][0]) / 2, min(ends[0][1], ends[1][1]))
    points = []
    for number, name in enumerate(MPII_SKELETON.joint_names):
        position, visibility = known[name]
        if visibility == NOT_LABELLED:
            continue
        # As in the official file, the flag is a number or text, and the head's joints have none.
        flag: Any = int(visibility == VISIBLE)
        flag = str(flag) if number % 2 else flag
        points.append(_mpii_point(number, position, None if name in ("neck", "head_top") else flag))
    neck, head = known["neck"][0], known["head_top"][0]
    low, high = np.minimum(neck, head) - 4, np.maximum(neck, head) + 4
    return {
        **dict(zip(("x1", "y1", "x2", "y2"), [*(low + 1), *(high + 1)], strict=True)),
        **_mpii_position(column),
        "annopoints": {"point": _structs(points[:limit])},
    }


def _write_mpii(folder: pathlib.Path) -> None:
    """Writes images, and annotations with each form of struct that the official file has."""
    figures = _figures(cut_off=False, count=8, size=_PEOPLE_SIZE)
    head_only = dict.fromkeys(("x1", "y1", "x2", "y2"), 5.0)
    images = [  # Tuples of figures, annorect, single_person, video and img_train.
        (figures[:1], [_mpii_person(figures[0], 0)], [1], 1, 1),
        (figures[1:3], [_mpii_person(f, i) for i, f in enumerate(figures[1:3])], [2], 2, 1),
        # A person with one labelled joint, and one with a head rectangle only.
        (figures[3:4], [_mpii_person(figures[3], 0, limit=1), head_only], [], 3, 1),
        (figures[4:5], [], [], 4, 1),  # Nobody.
        (figures[5:6], [_mpii_person(figures[5], 0)], [1], 10, 1),  # In the split `validation`.
        (figures[6:8], [_mpii_position(0), _mpii_position(1)], [1, 2], 20, 0),
    ]
    single = np.empty((len(images), 1), object)
    annolist = []
    for index, (drawn, people, single_people, video, _) in enumerate(images):
        name = f"{index + 1:09d}.jpg"
        _write_row(folder / "images" / name, drawn)
        annolist.append(
            {"image": {"name": name}, "annorect": _structs(people), "vidx": float(video)}
        )
        single[index, 0] = np.array(single_people, float)[:, np.newaxis]
    release = {
        "annolist": _structs(annolist),
        "img_train": np.array([[float(image[-1]) for image in images]]),
        "version": "12",
        "single_person": single,
    }
    path = folder / "mpii_human_pose_v1_u12_1.mat"
    scipy.io.savemat(path, {"RELEASE": release}, do_compression=True)


def _coco_person(figure: Figure, column: int, number: int, image: int) -> dict[str, Any]:
    known = _positions(figure, column)
    neck, head = known["neck"], known["head_top"]
    middle = (neck[0] + head[0]) / 2
    sideways = (head[0] - neck[0])[::-1] * (1, -1) / 4
    known["nose"] = (middle, VISIBLE)
    for name, amount in (("eye", 0.5), ("ear", 1.0)):
        known[f"left_{name}"] = (middle + amount * sideways, VISIBLE)
        known[f"right_{name}"] = (middle - amount * sideways, NOT_LABELLED)
    keypoints: list[float] = []
    for name in COCO_SKELETON.joint_names:
        position, visibility = known[name]
        position = np.zeros(2) if visibility == NOT_LABELLED else np.round(position)
        keypoints += [*map(int, position), int(visibility)]
    labelled = np.array(keypoints).reshape(-1, 3)
    labelled = labelled[labelled[:, 2] > 0, :2]
    low, size = labelled.min(0) - 3.5, np.ptp(labelled, axis=0) + 7
    return {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "iscrowd": 0,
        "area": round(0.5 * float(size[0] * size[1]), 2),
        "bbox": [*map(float, low), *map(float, size)],
        "num_keypoints": len(labelled),
        "keypoints": keypoints,
        "segmentation": [],
    }


def _write_coco(folder: pathlib.Path) -> None:
    """Writes photographs with two people, with one, and with an unlabelled crowd."""
    figures = _figures(cut_off=False, count=6, size=_PEOPLE_SIZE)
    for split, (first, second, third) in (("train", figures[:3]), ("val", figures[3:])):
        start = 100 if split == "train" else 200
        rows = [(first, second), (third,), (second,)]
        people = [
            _coco_person(first, 0, start * 10 + 1, start + 1),
            _coco_person(second, 1, start * 10 + 2, start + 1),
            _coco_person(third, 0, start * 10 + 3, start + 2),
            {
                **_coco_person(second, 0, start * 10 + 4, start + 3),
                "iscrowd": 1,
                "num_keypoints": 0,
                "keypoints": [0] * 51,
            },
        ]
        images = []
        for number, row in enumerate(rows, start=start + 1):
            name = f"{number:012d}.jpg"
            _write_row(folder / f"{split}2017" / name, row)
            size = {"height": _PEOPLE_SIZE, "width": _PEOPLE_SIZE * len(row)}
            images.append({"id": number, "file_name": name, **size})
        category = {"id": 1, "name": "person", "keypoints": list(COCO_SKELETON.joint_names)}
        content = {"images": images, "annotations": people, "categories": [category]}
        path = folder / "annotations" / f"person_keypoints_{split}2017.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content, indent=1) + "\n")


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the data sets beside their builders."""
    command_line.Parser(
        prog="python -m examples.pose.datasets.write_dummy_data",
        description="Write the small data sets that the tests read, beside their builders.",
    ).parse_args(argv)
    here = pathlib.Path(__file__).parent
    figures = _figures(cut_off=False, count=4)
    joints, visibility = _labels(figures)
    flags = visibility != VISIBLE  # In LSP, the flag means occluded.
    labels = np.concatenate([joints, flags[..., np.newaxis]], axis=-1).transpose(2, 1, 0)
    _write_leeds(here / "lsp/dummy_data/lsp", figures, labels, digits=4)

    figures = _figures(cut_off=True, count=3)
    joints, visibility = _labels(figures)
    flags = visibility != NOT_LABELLED  # In LSPET, the flag means labelled.
    labels = np.concatenate([joints, flags[..., np.newaxis]], axis=-1).transpose(1, 2, 0)
    _write_leeds(here / "lspet/dummy_data/lspet", figures, labels, digits=5)

    _write_mpii(here / "mpii/dummy_data/mpii")
    _write_coco(here / "coco_keypoints/dummy_data/coco")


if __name__ == "__main__":
    sys.exit(command_line.run(main))
