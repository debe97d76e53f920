"""Pages of predictions beside the labelled poses: the worst, the median and the best of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from examples.pose.datasets.in_memory import Photographs
from examples.pose.datasets.skeletons import NOT_LABELLED, VISIBLE, Skeleton
from examples.pose.evaluation import metrics
from examples.pose.images import drawing, geometry

# People in each of the groups worst, median and best.
GROUP = 4
# Errors above this many reference lengths count as this many, so that one joint does not decide.
_LARGEST_ERROR = 1.0
_DRAWING_SIZE = 192


def draw_ranked(
    photographs: Photographs, skeleton: Skeleton, joints: np.ndarray, scores: np.ndarray
) -> np.ndarray | None:
    """Draws the worst, the median and the best predictions, a row for each group.

    People are ordered by the mean error of their labelled joints, relative to the reference length
    of PCK.

    Args:
        photographs: The people.
        skeleton: The joints.
        joints: `[n, J, 2]`, the predictions in pixels of the original photographs.
        scores: `[n, J]`.

    Returns:
        uint8 `[height, width, 3]`; None if the reference length of nobody is known.
    """
    joints = geometry.transform_points(photographs.affines, joints).numpy()
    order = rank(photographs, skeleton, joints)
    if not len(order):
        return None
    middle = max(0, (len(order) - GROUP) // 2)
    groups = {
        "worst": order[:GROUP],
        "median": order[middle : middle + GROUP],
        "best": order[-GROUP:],
    }
    if len(order) < len(groups) * GROUP:
        groups = {"worst to best": order}
    panels = []
    for name, indices in groups.items():
        panels += _comparisons(photographs, skeleton, joints, scores, indices, f"{name}: ")
    return drawing.draw_grid(panels, columns=GROUP, gap=16)


def rank(photographs: Photographs, skeleton: Skeleton, joints: np.ndarray) -> np.ndarray:
    """Returns the indices of the people with a known reference length, the worst first.

    Args:
        photographs: The people.
        skeleton: The joints.
        joints: `[n, J, 2]`, the predictions in pixels of `photographs.images`.
    """
    labelled = photographs.labelled
    reference, boxes = skeleton.pck_reference, photographs.boxes
    lengths = metrics.reference_lengths(photographs.joints, labelled, reference, boxes).numpy()
    known = np.isfinite(lengths) & (lengths > 0) & labelled.any(axis=1)
    errors = (
        np.linalg.norm(joints - photographs.joints, axis=-1) / np.where(known, lengths, 1)[:, None]
    )
    errors = np.minimum(np.where(np.isfinite(errors), errors, _LARGEST_ERROR), _LARGEST_ERROR)
    means = np.sum(errors * labelled, axis=1) / np.maximum(labelled.sum(axis=1), 1)
    order = np.argsort(-means, kind="stable")
    return order[known[order]]


def draw_handful(
    photographs: Photographs, skeleton: Skeleton, joints: np.ndarray, scores: np.ndarray
) -> np.ndarray:
    """Draws predictions beside the labelled poses. `joints` are in pixels of the images."""
    indices = range(len(photographs))
    panels = _comparisons(photographs, skeleton, joints, scores, indices, "")
    return drawing.draw_grid(panels, columns=3, gap=16)


def _comparisons(
    photographs: Photographs,
    skeleton: Skeleton,
    joints: np.ndarray,
    scores: np.ndarray,
    indices: Sequence[int],
    caption: str,
) -> list[np.ndarray]:
    chosen = np.asarray(indices)
    people = photographs[chosen]
    found, counted = metrics.found_joints(
        joints[chosen],
        people.joints,
        people.labelled,
        skeleton.pck_reference,
        boxes=people.boxes,
    )
    visibility = people.visibility
    if visibility is None:
        visibility = np.where(people.labelled, VISIBLE, NOT_LABELLED)
    return [
        drawing.draw_comparison(
            image,
            truth,
            flags,
            joints[index],
            scores[index],
            skeleton,
            min_size=_DRAWING_SIZE,
            captions=("truth", f"{caption}{int(np.sum(f))} of {int(np.sum(c))} found"),
        )
        for index, image, truth, flags, f, c in zip(
            chosen, people.images, people.joints, visibility, found, counted, strict=True
        )
    ]
