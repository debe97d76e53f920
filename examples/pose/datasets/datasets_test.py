"""Tests of what all pose data sets share: `load`, the feature specification, the command."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from examples.pose import datasets
from examples.pose.datasets import __main__ as command
from examples.pose.datasets import pose_features
from examples.pose.datasets.pose_features import LSP_SKELETON, Skeleton

_DUMMY_DATA = pathlib.Path(__file__).parent / "lsp" / "dummy_data"


@pytest.mark.parametrize("name", ["coco", "LSP", ""])
def test_unknown_name_lists_the_names(name):
    with pytest.raises(ValueError, match=r"must be one of \['lsp', 'lspet', 'stick_figures'\]"):
        datasets.load(name, "train")


def test_unknown_split_lists_the_splits(tmp_path):
    with pytest.raises(ValueError, match=r"Should be one of.*train"):
        datasets.load("lsp", "validation", _DUMMY_DATA, tmp_path)


def test_load_prepares_once_and_keeps_the_order(tmp_path):
    first, skeleton = datasets.load("lsp", "train", _DUMMY_DATA, tmp_path)
    assert skeleton == LSP_SKELETON
    assert first.element_spec == {
        "image": tf.TensorSpec((None, None, 3), tf.uint8),
        "joints": tf.TensorSpec((14, 2), tf.float32),
        "visibility": tf.TensorSpec((14,), tf.uint8),
        "id": tf.TensorSpec((), tf.string),
    }
    ids = [example["id"] for example in first.as_numpy_iterator()]
    # The records are there now: the folder is not looked at again.
    again, _ = datasets.load("lsp", "train", tmp_path / "gone", tmp_path)
    assert [example["id"] for example in again.as_numpy_iterator()] == ids
    sliced, _ = datasets.load("lsp", "train[:1]", None, tmp_path)
    assert [example["id"] for example in sliced.as_numpy_iterator()] == ids[:1]


def test_relative_data_dir(tmp_path, monkeypatch):
    monkeypatch.chdir(_DUMMY_DATA.parent)
    dataset, _ = datasets.load("lsp", "test", "dummy_data", tmp_path)
    assert len(list(dataset)) == 2


@pytest.mark.parametrize("name", sorted(datasets.BUILDERS))
def test_all_builders_are_registered_and_share_the_features(tmp_path, name):
    builder = tfds.builder(name, data_dir=tmp_path)
    assert isinstance(builder, datasets.BUILDERS[name])
    assert repr(builder.info.features) == repr(pose_features.pose_features())
    assert Skeleton.from_metadata(builder.info.metadata) == LSP_SKELETON
    assert builder.info.description
    assert builder.info.citation


def test_skeleton():
    names = LSP_SKELETON.joint_names
    assert LSP_SKELETON.num_joints == len(set(names)) == 14
    assert [names[i] for i in LSP_SKELETON.pck_reference] == ["left_shoulder", "right_hip"]
    for left, right in LSP_SKELETON.flip_pairs:
        assert {names[left].split("_")[0], names[right].split("_")[0]} == {"left", "right"}
        assert names[left].split("_")[1] == names[right].split("_")[1]
    # Mirroring swaps all but the joints in the middle, and twice is no change.
    order = LSP_SKELETON.flip_order
    assert [names[i] for i in range(14) if order[i] == i] == ["neck", "head_top"]
    assert [order[i] for i in order] == list(range(14))
    # The limbs connect all joints, and their mirror images are the same limbs.
    limbs = {frozenset(limb) for limb in LSP_SKELETON.limbs}
    assert {frozenset(order[i] for i in limb) for limb in limbs} == limbs
    reached, grown = set(), {0}
    while reached != grown:
        reached = grown
        grown = reached | {j for limb in limbs if limb & reached for j in limb}
    assert reached == set(range(14))


def test_skeleton_survives_json():
    metadata = json.loads(json.dumps(LSP_SKELETON.to_metadata()))
    assert Skeleton.from_metadata(metadata) == LSP_SKELETON


def test_command_draws_a_page(tmp_path, capsys):
    output = tmp_path / "page.png"
    arguments = ["lsp", "--data_dir", str(_DUMMY_DATA), "--prepared_dir", str(tmp_path / "tfds")]
    arguments += ["--output", str(output), "--columns", "2"]
    assert command.main(arguments) == 0
    drawn = np.asarray(Image.open(output))
    assert drawn.shape[0] >= 224
    assert drawn.shape[1] > 2 * 200  # Two images side by side.
    assert str(output) in capsys.readouterr().out
    assert command.main([*arguments, "--no_labels"]) == 0
    assert (np.asarray(Image.open(output)) != drawn).any()


def test_command_reports_errors_in_one_line(tmp_path, capsys):
    arguments = ["lsp", "--data_dir", str(_DUMMY_DATA), "--prepared_dir", str(tmp_path)]
    assert command.main([*arguments, "--split", "valid", "--output", str(tmp_path / "a.png")]) == 1
    assert "error: Unknown split" in capsys.readouterr().err
    assert command.main([*arguments, "--output", str(tmp_path / "page.doc")]) == 1
    assert "page.doc" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--count", "--columns"])
def test_command_refuses_counts_below_one(option):
    with pytest.raises(SystemExit):
        command.main(["lsp", "--output", "page.png", option, "0"])
