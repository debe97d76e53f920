"""Tests of the page of the worst, the median and the best predictions."""

import numpy as np
import pytest

from examples.pose.datasets.in_memory import Photographs
from examples.pose.datasets.skeletons import Skeleton
from examples.pose.evaluation import example_pages
from examples.pose.images import drawing

SKELETON = Skeleton(("a", "b", "c"), (), ((0, 1), (1, 2)), (0, 1))
TRUE = np.float32([(10, 10), (30, 10), (30, 40)])


def people(errors, scale=2.0):
    """People and predictions that are wrong by `errors` times the reference length of 20 pixels."""
    count = len(errors)
    affine = np.float32([[scale, 0, 0], [0, scale, 0]])
    photographs = Photographs(
        np.zeros((count, 64, 64, 3), np.uint8),
        np.tile(TRUE, (count, 1, 1)),
        np.ones((count, 3), bool),
        np.tile(affine, (count, 1, 1)),
    )
    predicted = TRUE + 20 * np.float32(errors)[:, None, None] * np.float32([1, 0])
    return photographs, predicted


def test_people_are_ranked_by_their_error():
    photographs, predicted = people([0.1, 0.7, 0.0, 0.3])
    assert example_pages.rank(photographs, SKELETON, predicted).tolist() == [1, 3, 0, 2]


def test_one_far_joint_does_not_decide():
    photographs, predicted = people([0.5, 0.0, 0.0])
    predicted[1, 0] += 1e6
    predicted[2, 0] = np.nan
    assert example_pages.rank(photographs, SKELETON, predicted).tolist() == [0, 1, 2]


def test_unlabelled_joints_and_people_without_reference_do_not_count():
    photographs, predicted = people([0.1, 0.2, 0.9])
    photographs.labelled[1, 2] = False
    predicted[1, 2] = 1e6
    photographs.labelled[2, 0] = False
    assert example_pages.rank(photographs, SKELETON, predicted).tolist() == [1, 0]
    photographs.labelled[:, 0] = False
    assert example_pages.draw_ranked(photographs, SKELETON, predicted / 2, np.ones((3, 3))) is None


@pytest.mark.parametrize("count,captions", [
    (3, {"worst to best": [2, 1, 0]}),
    (20, {"worst": [19, 18, 17, 16], "median": [11, 10, 9, 8], "best": [3, 2, 1, 0]}),
])  # fmt: skip
def test_the_page_shows_each_group(count, captions, monkeypatch):
    drawn = []
    draw = drawing.draw_comparison

    def spy(image, truth, flags, prediction, *arguments, **options):
        drawn.append((options["captions"][1], float(prediction[0, 0] - truth[0, 0])))
        return draw(image, truth, flags, prediction, *arguments, **options)

    monkeypatch.setattr(drawing, "draw_comparison", spy)
    # Everybody is wrong by another amount, up to 0.38.
    photographs, predicted = people(0.02 * np.arange(count))
    page = example_pages.draw_ranked(photographs, SKELETON, predicted / 2, np.ones((count, 3)))
    assert page.dtype == np.uint8 and page.shape[1] > 3 * 2 * 192
    expected = [(name, number) for name, numbers in captions.items() for number in numbers]
    for (caption, error), (name, number) in zip(drawn, expected, strict=True):
        found = 3 if 0.02 * number < 0.2 else 0
        assert caption == f"{name}: {found} of 3 found"
        assert error == pytest.approx(20 * 0.02 * number, abs=1e-4)
