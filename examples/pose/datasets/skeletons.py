"""The joints of each data set: names, mirror pairs and the limbs between joints."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

# Visibility of a joint, as in COCO.
NOT_LABELLED = 0
OCCLUDED = 1
VISIBLE = 2


@dataclasses.dataclass(frozen=True)
class Skeleton:
    """The joints of a pose. Left and right are the person's own.

    Attributes:
        joint_names: Name of each joint. A joint's position in this tuple is its index everywhere.
        flip_pairs: Pairs of joint indices (left and right) that are swapped when an image is
            mirrored.
        limbs: Pairs of joint indices that a drawn pose connects.
        pck_reference: Two joint indices. PCK (percentage of correct keypoints) divides errors by
            the distance between these joints; if it is None, by the longer side of the person's
            box.
    """

    joint_names: tuple[str, ...]
    flip_pairs: tuple[tuple[int, int], ...]
    limbs: tuple[tuple[int, int], ...]
    pck_reference: tuple[int, int] | None

    @property
    def num_joints(self) -> int:
        """Number of joints."""
        return len(self.joint_names)

    @property
    def flip_order(self) -> tuple[int, ...]:
        """For each joint the index of its mirror image.

        To mirror a pose, mirror the position of each joint, then reorder: `joints[flip_order]`.
        Without the reordering, the left joints would be named right and vice versa.
        """
        order = list(range(self.num_joints))
        for left, right in self.flip_pairs:
            order[left], order[right] = right, left
        return tuple(order)

    def to_metadata(self) -> dict[str, Any]:
        """Returns plain lists and strings, ready for JSON."""
        return {
            "joint_names": list(self.joint_names),
            "flip_pairs": [list(pair) for pair in self.flip_pairs],
            "limbs": [list(pair) for pair in self.limbs],
            "pck_reference": list(self.pck_reference or ()),
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> Skeleton:
        """Rebuilds a skeleton from `to_metadata()`, or from a builder's `info.metadata`."""
        return cls(
            joint_names=tuple(metadata["joint_names"]),
            flip_pairs=tuple((int(i), int(j)) for i, j in metadata["flip_pairs"]),
            limbs=tuple((int(i), int(j)) for i, j in metadata["limbs"]),
            pck_reference=tuple(int(i) for i in metadata["pck_reference"]) or None,
        )


LSP_SKELETON = Skeleton(
    joint_names=(
        "right_ankle",
        "right_knee",
        "right_hip",
        "left_hip",
        "left_knee",
        "left_ankle",
        "right_wrist",
        "right_elbow",
        "right_shoulder",
        "left_shoulder",
        "left_elbow",
        "left_wrist",
        "neck",
        "head_top",
    ),
    flip_pairs=((0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9)),
    limbs=(
        (0, 1),
        (1, 2),
        (2, 3),
        (3, 4),
        (4, 5),
        (6, 7),
        (7, 8),
        (8, 12),
        (12, 9),
        (9, 10),
        (10, 11),
        (2, 8),
        (3, 9),
        (12, 13),
    ),
    pck_reference=(9, 2),
)


COCO_SKELETON = Skeleton(
    joint_names=(
        "nose",
        "left_eye",
        "right_eye",
        "left_ear",
        "right_ear",
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
        "right_elbow",
        "left_wrist",
        "right_wrist",
        "left_hip",
        "right_hip",
        "left_knee",
        "right_knee",
        "left_ankle",
        "right_ankle",
    ),
    flip_pairs=((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)),
    limbs=(
        (15, 13),
        (13, 11),
        (16, 14),
        (14, 12),
        (11, 12),
        (5, 11),
        (6, 12),
        (5, 6),
        (5, 7),
        (6, 8),
        (7, 9),
        (8, 10),
        (1, 2),
        (0, 1),
        (0, 2),
        (1, 3),
        (2, 4),
        (3, 5),
        (4, 6),
    ),
    pck_reference=(5, 12),
)


MPII_SKELETON = Skeleton(
    # In the order of MPII's joint numbers. Its "upper neck" is called `neck`, as in LSP.
    joint_names=(
        "right_ankle",
        "right_knee",
        "right_hip",
        "left_hip",
        "left_knee",
        "left_ankle",
        "pelvis",
        "thorax",
        "neck",
        "head_top",
        "right_wrist",
        "right_elbow",
        "right_shoulder",
        "left_shoulder",
        "left_elbow",
        "left_wrist",
    ),
    flip_pairs=((0, 5), (1, 4), (2, 3), (10, 15), (11, 14), (12, 13)),
    limbs=(
        (0, 1),
        (1, 2),
        (2, 6),
        (6, 3),
        (3, 4),
        (4, 5),
        (6, 7),
        (7, 8),
        (8, 9),
        (10, 11),
        (11, 12),
        (12, 7),
        (7, 13),
        (13, 14),
        (14, 15),
    ),
    pck_reference=(13, 2),
)


FLIC_SKELETON = Skeleton(
    joint_names=(
        "left_shoulder",
        "left_elbow",
        "left_wrist",
        "right_shoulder",
        "right_elbow",
        "right_wrist",
        "left_hip",
        "right_hip",
        "left_eye",
        "right_eye",
        "nose",
    ),
    flip_pairs=((0, 3), (1, 4), (2, 5), (6, 7), (8, 9)),
    limbs=((0, 1), (1, 2), (3, 4), (4, 5), (0, 3), (0, 6), (3, 7), (6, 7), (8, 10), (9, 10)),
    # Right shoulder to left hip. LSP uses the other diagonal.
    pck_reference=(3, 6),
)
