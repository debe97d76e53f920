"""The commands of examples/pose/datasets/keypoints/README.md, on generated pictures of kites."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from examples.pose import evaluate, export, predict, train
from examples.pose.datasets import __main__ as draw_labels
from examples.pose.datasets.keypoints.keypoints_dataset_builder import held_out_names
from examples.pose.evaluation import cost
from examples.pose.images import cropping
from examples.pose.images.image_files import read_image
from examples.pose.inference import model_files
from tests.examples.commands import outcome
from tests.examples.pose import kites

PAGE = Path(draw_labels.__file__).parent / "keypoints" / "README.md"
COMMANDS = {
    "datasets": draw_labels.main,
    "train": train.main,
    "evaluate": evaluate.main,
    "predict": predict.main,
    "export": export.main,
}
# A smaller and shorter training than the page's, for which 36 small pictures are enough.
SHORT = [
    *("--image_size", "48", "--width", "32", "--depth", "2", "--batch_size", "8"),
    *("--epochs", "2", "--steps_per_epoch", "120", "--ema", "0.95"),
]


def commands():
    """The commands of the page in order, as names with arguments."""
    text = PAGE.read_text().replace("\\\n", "")
    for line in re.findall(r"^    python -m examples\.pose\.(.*)$", text, re.M):
        name, *arguments = shlex.split(line)
        yield name, arguments


def for_people(arguments):
    return "runs/people" in arguments


def kite_commands():
    """The commands of the page for its example: all but the training for people."""
    return [command for command in commands() if not for_people(command[1])]


def test_the_page_names_every_command():
    assert [name for name, _ in kite_commands()][:5] == ["datasets", *list(COMMANDS)[1:]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with forty pictures, their labels, and the results of the page's commands."""
    folder = tmp_path_factory.mktemp("own")
    kites.write(folder, 40).rename(folder / "labels.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(cost, "TIMED_SECONDS", 0.0)
        Path("new.jpg").write_bytes(sorted(Path("pictures").iterdir())[-1].read_bytes())
        for name, arguments in kite_commands()[:5]:
            arguments += SHORT if name == "train" else []
            status, errors = outcome(COMMANDS[name], *arguments)
            assert status == 0, errors
    return folder


def test_labels_are_drawn(folder):
    assert read_image(folder / "labels.png").shape[1] > 1000


def test_the_network_finds_most_joints(folder):
    result = json.loads((folder / "runs/kites/evaluation-keypoints.json").read_text())
    assert result["split"] == "validation" and result["pck"] > 70
    assert (result["annotations"], result["validation"]) == ("labels.json", None)
    assert list(result["pck_per_joint"])[:2] == ["nose", "left_wing"]
    content = json.loads((folder / "labels.json").read_text())
    names = {record["id"]: record["file_name"] for record in content["images"]}
    held_out = held_out_names(names.values())
    assert 4 <= len(held_out) <= 12
    kites_held_out = [r for r in content["annotations"] if names[r["image_id"]] in held_out]
    assert result["pck_joints_counted"] == 6 * len(kites_held_out)
    assert (folder / "runs/kites/evaluation-keypoints-examples.jpg").exists()


def test_more_labels_go_on_from_the_first_run(folder, eager, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    name, arguments = kite_commands()[5]
    short = [*SHORT[6:8], "--epochs", "1", "--steps_per_epoch", "2"]
    assert outcome(COMMANDS[name], *arguments, *short)[0] == 0
    printed = capsys.readouterr().out
    assert "Starting from runs/kites: " in printed and "start anew" not in printed
    assert "swapped in a mirrored picture: left_wing - right_wing\n" in printed


def test_the_network_for_photographs_gets_new_heads(folder, eager, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    ((_, arguments),) = [command for command in commands() if for_people(command[1])]
    path = arguments.index("--init") + 1
    assert arguments[path] == "examples/pose/pretrained/photographs"  # from the repository's root
    arguments[path] = model_files.PRETRAINED
    short = ["--batch_size", "2", "--epochs", "1", "--steps_per_epoch", "1"]
    assert outcome(train.main, *arguments, *short)[0] == 0
    found = re.search(r": (\d+) weights copied, \d+ start anew: (.*)\.", capsys.readouterr().out)
    assert int(found[1]) > 50
    heads = found[2].split(", ")
    assert heads and all("heatmaps" in name or "guess" in name for name in heads)


def test_predict_and_export_agree(folder):
    (pose,) = json.loads((folder / "poses.json").read_text())
    found = np.reshape(pose["keypoints"], (6, 3))
    image = read_image(folder / "new.jpg")
    height, width = image.shape[:2]
    assert (found[:, :2] >= -1).all() and (found[:, :2] <= (width, height)).all()
    assert read_image(folder / "pose.png").shape[:2] == (288, 384)
    loaded = tf.saved_model.load(str(folder / "exported/kites/1"))
    answer = loaded.signatures["serving_default"](images=tf.constant(image[None]))
    # The box of the page's command covers the whole picture.
    np.testing.assert_allclose(answer["joints"][0], found[:, :2], atol=0.02)
    # A smaller box, cropped as the manual says.
    box = (30, 20, 50, 40)
    crop, origin = cropping.crop_to_box(image, box)
    answer = loaded.signatures["serving_default"](images=tf.constant(crop[None]))
    arguments = ["--box", "30,20,50,40", "--output", folder / "p.png", "--json", folder / "p.json"]
    model = ["--model", folder / "runs/kites"]
    assert outcome(predict.main, *model, folder / "new.jpg", *arguments) == (0, "")
    (pose,) = json.loads((folder / "p.json").read_text())
    found = np.reshape(pose["keypoints"], (6, 3))
    np.testing.assert_allclose(answer["joints"][0] + origin, found[:, :2], atol=0.02)
    names = json.loads((folder / "exported/kites/1/assets/skeleton.json").read_text())
    assert names["joint_names"][4:] == ["knot_1", "knot_2"]
