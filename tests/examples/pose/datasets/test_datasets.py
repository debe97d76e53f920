"""Tests that all pose data sets share: `load`, features, skeletons, and the command."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from examples.pose import datasets, train
from examples.pose.cli import command_line
from examples.pose.datasets import __main__ as command
from examples.pose.datasets import pose_features, skeletons
from examples.pose.datasets.skeletons import LSP_SKELETON, Skeleton
from tests.examples.commands import refused
from tests.examples.pose.datasets.small_copies import BUILDERS

_SKELETONS = [
    LSP_SKELETON,
    skeletons.MPII_SKELETON,
    skeletons.COCO_SKELETON,
    skeletons.FLIC_SKELETON,
]
_DUMMY_DATA = BUILDERS / "lsp" / "dummy_data"


@pytest.mark.parametrize("name", ["coco", "LSP", ""])
def test_unknown_name_lists_the_names(name):
    names = ["coco_keypoints", "flic", "keypoints", "lsp", "lspet", "mpii", "stick_figures"]
    with pytest.raises(ValueError, match="must be one of .*" + ".*".join(names)):
        datasets.load(name, "train")


def test_unknown_split_lists_the_splits(tmp_path):
    with pytest.raises(ValueError, match=r"Should be one of.*train"):
        datasets.load("lsp", "validation", _DUMMY_DATA, tmp_path)


@pytest.mark.parametrize("text", ["lsp+lspet", "lsp", "mpii+coco_keypoints", "flic/full+lspet"])
def test_parse_joined_names(text):
    assert datasets.parse_names(text) == text.split("+")


@pytest.mark.parametrize("text,message", [
    ("lspet", "'lspet' has no split to evaluate on"),
    ("lspet+lsp", "'lspet' has no split to evaluate on"),
    ("lsp,lspet", "joined by '\\+', got 'lsp,lspet'"),
    ("lsp lspet", "got 'lsp lspet'"),
    ("lsp+", "got 'lsp\\+'"),
    ("", "got ''"),
    ("LSP", "got 'LSP'"),
    ("lsp+lsp", "twice: 'lsp\\+lsp'"),
    ("flic+lsp+flic/small", "twice"),
])  # fmt: skip
def test_invalid_joined_names_raise(tmp_path, text, message, capsys):
    with pytest.raises(ValueError, match=message):
        datasets.parse_names(text)
    arguments = ["--dataset", text, "--run", str(tmp_path / "run")]
    assert command_line.run(lambda: train.main(arguments)) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("error: ") and printed.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_lspet_has_no_split_to_evaluate_on(tmp_path):
    with pytest.raises(ValueError, match=r"`train --dataset lsp\+lspet`"):
        datasets.evaluation_split("lspet")
    with pytest.raises(ValueError, match=r"Unknown split 'test' of 'lspet'.*\['train'\]"):
        datasets.load("lspet", "test", _DUMMY_DATA, tmp_path)


def test_two_processes_can_prepare_at_the_same_time(tmp_path):
    code = (
        "import sys; from examples.pose import datasets as d; d.load('lsp', 'train', *sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, str(_DUMMY_DATA), str(tmp_path)]
    processes = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]


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
    # The records exist now, so `data_dir` is not read again.
    again, _ = datasets.load("lsp", "train", tmp_path / "gone", tmp_path)
    assert [example["id"] for example in again.as_numpy_iterator()] == ids
    sliced, _ = datasets.load("lsp", "train[:1]", None, tmp_path)
    assert [example["id"] for example in sliced.as_numpy_iterator()] == ids[:1]


def test_relative_data_dir(tmp_path, monkeypatch):
    monkeypatch.chdir(_DUMMY_DATA.parent)
    dataset, _ = datasets.load("lsp", "test", "dummy_data", tmp_path)
    assert len(list(dataset)) == 2


@pytest.mark.parametrize("name", sorted(datasets.EVALUATION_SPLITS))
def test_all_builders_are_registered_and_share_the_features(tmp_path, name):
    builder_class = datasets.builder_class(name)  # Importing it registers it.
    builder = tfds.builder(name, data_dir=tmp_path)
    assert isinstance(builder, builder_class)
    skeleton = Skeleton.from_metadata(builder.info.metadata)
    expected = {"mpii": skeletons.MPII_SKELETON, "coco_keypoints": skeletons.COCO_SKELETON}
    assert skeleton == expected.get(name, LSP_SKELETON)
    features = builder.info.features
    person = list(features["person"]) if "person" in features else []
    assert repr(features) == repr(pose_features.pose_features(skeleton, person))
    assert builder.info.description
    assert builder.info.citation


@pytest.mark.parametrize("skeleton", _SKELETONS, ids=lambda s: str(s.num_joints))
def test_skeleton(skeleton):
    names = skeleton.joint_names
    assert skeleton.num_joints == len(set(names))
    # The reference length of PCK is a diagonal of the torso.
    sides = [names[i].split("_") for i in skeleton.pck_reference]
    assert {side for side, _ in sides} == {"left", "right"}
    assert [part for _, part in sides] == ["shoulder", "hip"]
    for left, right in skeleton.flip_pairs:
        assert {names[left].split("_")[0], names[right].split("_")[0]} == {"left", "right"}
        assert names[left].split("_")[1] == names[right].split("_")[1]
    # Mirroring swaps all joints except those in the middle. Mirroring twice changes nothing.
    order = skeleton.flip_order
    middle = {"neck", "head_top", "pelvis", "thorax", "nose"}
    unchanged = {name for i, name in enumerate(names) if order[i] == i}
    assert unchanged == middle & set(names)
    assert [order[i] for i in order] == list(range(skeleton.num_joints))
    # The limbs connect all joints, except that FLIC's face is not connected to the body. The
    # mirror image of a limb is a limb.
    limbs = {frozenset(limb) for limb in skeleton.limbs}
    assert {frozenset(order[i] for i in limb) for limb in limbs} == limbs
    reached, grown = set(), {names.index("right_hip")}
    while reached != grown:
        reached = grown
        grown = reached | {j for limb in limbs if limb & reached for j in limb}
    face = {"nose", "left_eye", "right_eye"} if skeleton == skeletons.FLIC_SKELETON else set()
    assert {names[i] for i in reached} == set(names) - face


def test_lsp_skeleton():
    names = LSP_SKELETON.joint_names
    assert LSP_SKELETON.num_joints == 14
    assert [names[i] for i in LSP_SKELETON.pck_reference] == ["left_shoulder", "right_hip"]


def test_skeleton_survives_json():
    metadata = json.loads(json.dumps(LSP_SKELETON.to_metadata()))
    assert Skeleton.from_metadata(metadata) == LSP_SKELETON


def test_command_draws_a_page(tmp_path, capsys):
    output = tmp_path / "page.png"
    arguments = ["lsp", "--data_dir", str(_DUMMY_DATA), "--prepared_dir", str(tmp_path / "tfds")]
    arguments += ["--output", str(output), "--columns", "2"]
    command.main(arguments)
    drawn = np.asarray(Image.open(output))
    assert drawn.shape[0] >= 224
    assert drawn.shape[1] > 2 * 200  # Two images side by side.
    assert str(output) in capsys.readouterr().out
    command.main([*arguments, "--no_labels"])
    assert (np.asarray(Image.open(output)) != drawn).any()


@pytest.mark.parametrize("name", ["mpii", "coco_keypoints"])
def test_command_draws_the_other_data_sets(tmp_path, name):
    arguments = [name, "--data_dir", str(_DUMMY_DATA.parents[1] / name / "dummy_data")]
    arguments += [
        "--split",
        datasets.evaluation_split(name),
        "--prepared_dir",
        str(tmp_path / "records"),
    ]
    pages = []
    for labels in ([], ["--no_labels"]):
        command.main([*arguments, "--output", str(tmp_path / "a.png"), *labels])
        pages.append(np.asarray(Image.open(tmp_path / "a.png")).astype(int))
    assert np.abs(pages[0] - pages[1]).max() > 100


def test_command_reports_errors_in_one_line(tmp_path):
    arguments = ["lsp", "--data_dir", str(_DUMMY_DATA), "--prepared_dir", str(tmp_path)]
    # Prepare the data set first, so that its progress bar is not part of the message.
    command.main([*arguments, "--output", str(tmp_path / "a.png")])
    (tmp_path / "a.png").unlink()
    message = refused(command.main, *arguments, "--split", "valid", "--output", tmp_path / "a.png")
    assert message.startswith("error: Unknown split")
    assert "page.doc" in refused(command.main, *arguments, "--output", tmp_path / "page.doc")


@pytest.mark.parametrize("option", ["--count", "--columns"])
def test_command_refuses_counts_below_one(option):
    with pytest.raises(SystemExit):
        command.main(["lsp", "--output", "page.png", option, "0"])
