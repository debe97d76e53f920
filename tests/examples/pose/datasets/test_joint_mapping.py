"""Tests of converting the joints of one data set to those of another."""

import numpy as np
import pytest
import tensorflow as tf

from examples.pose.datasets import joint_mapping, skeletons
from examples.pose.datasets.skeletons import Skeleton

_ALL = {
    "lsp": skeletons.LSP_SKELETON,
    "mpii": skeletons.MPII_SKELETON,
    "coco": skeletons.COCO_SKELETON,
    "flic": skeletons.FLIC_SKELETON,
}


def _examples(skeleton, count=5, seed=0):
    rng = np.random.default_rng(seed)
    visibility = rng.integers(0, 3, (count, skeleton.num_joints)).astype(np.uint8)
    joints = rng.uniform(1, 100, (count, skeleton.num_joints, 2)).astype(np.float32)
    joints *= visibility[..., None] > 0
    return {"joints": joints, "visibility": visibility, "id": np.arange(count)}


def _map(examples, source, target):
    dataset = tf.data.Dataset.from_tensor_slices(examples)
    return list(joint_mapping.with_joints(dataset, source, target).as_numpy_iterator())


@pytest.mark.parametrize("source", _ALL)
@pytest.mark.parametrize("target", _ALL)
def test_joints_are_mapped_by_name(source, target):
    source, target = _ALL[source], _ALL[target]
    examples = _examples(source)
    mapped = _map(examples, source, target)
    assert len(mapped) == 5
    for i, example in enumerate(mapped):
        assert example["id"] == i
        assert example["joints"].shape == (target.num_joints, 2)
        assert example["visibility"].dtype == np.uint8
        for j, name in enumerate(target.joint_names):
            if name in source.joint_names:
                k = source.joint_names.index(name)
                np.testing.assert_array_equal(example["joints"][j], examples["joints"][i, k])
                assert example["visibility"][j] == examples["visibility"][i, k]
            elif name not in ("thorax", "pelvis"):
                assert example["visibility"][j] == 0 and not example["joints"][j].any()


@pytest.mark.parametrize(
    "visible,expected", [((2, 2), 2), ((2, 1), 1), ((1, 1), 1), ((0, 2), 0), ((2, 0), 0)]
)
def test_midpoints(visible, expected):
    coco, mpii = skeletons.COCO_SKELETON, skeletons.MPII_SKELETON
    examples = _examples(coco, count=1)
    left, right = coco.joint_names.index("left_shoulder"), coco.joint_names.index("right_shoulder")
    examples["joints"][0, [left, right]] = [[10, 20], [30, 26]]
    examples["visibility"][0, [left, right]] = visible
    (mapped,) = _map(examples, coco, mpii)
    thorax = mpii.joint_names.index("thorax")
    assert mapped["visibility"][thorax] == expected
    assert mapped["joints"][thorax].tolist() == ([20, 23] if expected else [0, 0])


def test_which_joints_stay_unlabelled():
    def unlabelled(source, target):
        source, target = _ALL[source], _ALL[target]
        pairs = zip(target.joint_names, joint_mapping.joint_sources(source, target), strict=True)
        return [name for name, ends in pairs if ends is None]

    assert unlabelled("mpii", "lsp") == []
    assert unlabelled("lsp", "mpii") == []
    assert unlabelled("coco", "lsp") == ["neck", "head_top"]
    assert unlabelled("coco", "flic") == []
    assert len(unlabelled("flic", "mpii")) == 6  # Knees, ankles, neck and head top.


def test_same_skeleton_returns_the_data_set_itself():
    dataset = tf.data.Dataset.from_tensor_slices(_examples(skeletons.LSP_SKELETON))
    again = joint_mapping.with_joints(dataset, skeletons.LSP_SKELETON, skeletons.LSP_SKELETON)
    assert again is dataset


def test_skeletons_without_common_joints_raise():
    hand = Skeleton(("thumb", "palm"), (), ((0, 1),), (0, 1))
    with pytest.raises(ValueError, match=r"got thumb, palm; wanted right_ankle"):
        joint_mapping.joint_sources(hand, skeletons.LSP_SKELETON)


def test_skeletons_use_the_same_joint_names():
    """A joint name that occurs in only one skeleton could not be mapped to another."""
    unique = {
        name
        for skeleton in _ALL.values()
        for name in skeleton.joint_names
        if sum(name in other.joint_names for other in _ALL.values()) == 1
    }
    assert unique == {"left_ear", "right_ear", "thorax", "pelvis"}
