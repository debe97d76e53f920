"""Tests of training on several data sets at once, with their small dummy data."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from examples.pose import datasets, train
from examples.pose.cli.errors import UserError
from examples.pose.datasets import skeletons
from examples.pose.datasets.skeletons import Skeleton
from examples.pose.training import training_data
from tests.examples.pose.datasets.flic.test_flic_examples import write_official as write_flic

_BUILDERS = Path(datasets.__file__).parent
ALL = ["mpii", "lsp", "coco_keypoints", "flic"]
TRAINING_PEOPLE = {"mpii": 4, "lsp": 2, "coco_keypoints": 3, "flic": 2}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """`data_dir` with the dummy data of all data sets, and `prepared_dir`."""
    root = tmp_path_factory.mktemp("data")
    for name in ("mpii", "lsp", "coco_keypoints"):
        shutil.copytree(_BUILDERS / name / "dummy_data", root / "official", dirs_exist_ok=True)
    write_flic(root / "flic")
    with pytest.MonkeyPatch.context() as patch:
        manager = tfds.download.DownloadManager
        patch.setattr(manager, "download_and_extract", lambda self, url: str(root / "flic"))
        yield str(root / "official"), str(root / "prepared")


@pytest.mark.parametrize("first", ALL)
def test_first_data_set_determines_the_joints(folders, first):
    names = [first, *(name for name in ALL if name != first)]
    photographs, skeleton = training_data.read_training_photographs(names, 40, *folders)
    assert skeleton.joint_names == datasets.load(first, "train", *folders)[1].joint_names
    assert photographs.labelled.shape == (11, skeleton.num_joints)
    start = 0
    for name in names:
        own = datasets.load(name, "train", *folders)[1].joint_names
        part = photographs.labelled[start : start + TRAINING_PEOPLE[name]]
        start += TRAINING_PEOPLE[name]
        missing = [
            joint not in own and joint not in ("thorax", "pelvis") for joint in skeleton.joint_names
        ]
        assert not part[:, missing].any()
        # All people have a labelled joint. One of MPII's has only an ankle, which FLIC lacks.
        assert np.count_nonzero(~part.any(axis=1)) == (first == "flic" and name == "mpii")
        if "right_shoulder" in own and name != "mpii":
            assert part[:, skeleton.joint_names.index("right_shoulder")].all()


def test_lsp_joints_map_to_mpii_by_name(folders):
    photographs, mpii = training_data.read_training_photographs(["mpii", "lsp"], 40, *folders)
    lsp_photographs, lsp = training_data.read_training_photographs(["lsp"], 40, *folders)
    for j, name in enumerate(lsp.joint_names):
        index = mpii.joint_names.index(name)
        np.testing.assert_array_equal(photographs.joints[4:, index], lsp_photographs.joints[:, j])
        np.testing.assert_array_equal(
            photographs.labelled[4:, index], lsp_photographs.labelled[:, j]
        )


def test_training_on_several_data_sets(folders, tmp_path):
    data_dir, prepared_dir = folders
    arguments = ["--dataset", "+".join(ALL), "--run", str(tmp_path / "run")]
    arguments += ["--data_dir", data_dir, "--prepared_dir", prepared_dir, "--epochs", "1"]
    arguments += ["--steps_per_epoch", "2", "--image_size", "32", "--width", "8"]
    train.main([*arguments, "--batch_size", "4"])
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert Skeleton.from_metadata(config["skeleton"]) == skeletons.MPII_SKELETON
    result = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert result["pckh_joints_counted"] == 16  # MPII's validation split: one person.


def test_evenly_spaced_covers_all_data_sets(folders):
    photographs, _ = training_data.read_training_photographs(["mpii", "lsp"], 40, *folders)
    few = training_data.evenly_spaced(photographs, 4)
    indices = [
        next(i for i, image in enumerate(photographs.images) if np.array_equal(image, one))
        for one in few.images
    ]
    assert indices[0] < TRAINING_PEOPLE["mpii"] <= indices[-1]
    assert training_data.evenly_spaced(photographs, None) is photographs


def test_data_sets_without_common_joints_raise(folders, monkeypatch):
    hand = Skeleton(("thumb", "palm"), (), ((0, 1),), (0, 1))
    load = datasets.load

    def with_a_hand(name, *arguments):
        dataset, skeleton = load(name, *arguments)
        return dataset, hand if name == "coco_keypoints" else skeleton

    monkeypatch.setattr(datasets, "load", with_a_hand)
    with pytest.raises(
        UserError, match=r"--dataset joins lsp and coco_keypoints\. The skeletons have no joint"
    ):
        training_data.read_training_photographs(["lsp", "coco_keypoints"], 40, *folders)
