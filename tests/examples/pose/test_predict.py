"""Tests of `predict`: drawings, tables, JSON, errors, and examples of data sets."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import tensorflow as tf
from PIL import Image

from examples.pose import datasets, predict
from examples.pose.datasets import skeletons
from examples.pose.datasets.skeletons import LSP_SKELETON
from examples.pose.datasets.stick_figures import figure
from examples.pose.evaluation import metrics
from examples.pose.images import drawing
from examples.pose.images.image_files import read_image
from examples.pose.inference import predict_examples, predict_files
from examples.pose.inference.predictor import load_run
from tests.data_folder import DATA_DIR
from tests.examples.commands import outcome
from tests.examples.pose.pretrained import STICK_FIGURES
from tests.examples.pose.tiny_run import write_tiny_run

REPOSITORY = Path(predict.__file__).parents[2]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    return write_tiny_run(tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture(scope="module")
def predictor(run_folder):
    return load_run(run_folder, flip_test=True)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, size=(height, width, 3), dtype=np.uint8)


def save(path, height=40, width=60, mode="RGB", **kwargs):
    Path(path).parent.mkdir(exist_ok=True)
    Image.fromarray(picture(height, width)).convert(mode).save(path, **kwargs)
    return str(path)


def run(run_folder, *arguments):
    assert predict.main(["--model", str(run_folder), *arguments]) == 0


def fails(run_folder, *arguments):
    status, message = outcome(predict.main, "--model", run_folder, *arguments)
    assert status == 1
    return message


def test_draws_what_the_model_finds(run_folder, predictor, folder, capsys):
    save("a.png", 400, 500)
    run(run_folder, "a.png", "--output", "out.png", "--min_score", "0")
    joints, scores = predictor.predict(read_image("a.png"))
    expected = drawing.draw_pose(picture(400, 500), joints, np.full(14, 2), LSP_SKELETON)
    np.testing.assert_array_equal(read_image("out.png"), expected)
    assert sorted(os.listdir()) == ["a.png", "out.png"]
    # The table has a line for each joint with its position and score.
    lines = capsys.readouterr().out.splitlines()
    for name, (x, y), score in zip(LSP_SKELETON.joint_names, joints, scores, strict=True):
        (line,) = [line for line in lines if name.replace("_", " ") in line]
        assert [f"{x:.1f}", f"{y:.1f}", f"{score:.2f}"] == line.replace("│", " ").split()[-3:]


@pytest.mark.parametrize(
    ("name", "height", "width", "mode"),
    [
        ("a.png", 1, 1, "RGB"),
        ("a.png", 3, 400, "RGB"),
        ("a.png", 400, 1, "RGB"),
        ("a.png", 50, 30, "RGBA"),
        ("a.png", 50, 30, "L"),
        ("a.png", 50, 30, "1"),
        ("a.jpg", 50, 30, "CMYK"),
        ("a.gif", 50, 30, "P"),
        ("a.webp", 50, 30, "RGB"),
    ],
)
def test_any_picture(run_folder, folder, name, height, width, mode):
    save(name, height, width, mode)
    run(run_folder, name, "--output", "out.png", "--json", "out.json")
    (answer,) = json.loads(Path("out.json").read_text())["images"]
    assert (answer["height"], answer["width"]) == (height, width)
    assert np.shape(answer["joints"]) == (14, 2) and np.shape(answer["scores"]) == (14,)
    drawn = read_image("out.png")
    assert max(drawn.shape) == max(predict_files.DRAWING_SIZE, height, width)


def test_joints_are_in_the_picture_as_it_is_shown(run_folder, folder):
    """A picture with an orientation tag has the same joints as the upright picture."""
    exif = Image.Exif()
    exif[0x0112] = 6
    image = picture(40, 60)
    Image.fromarray(image).save("tagged.png", exif=exif)
    Image.fromarray(np.rot90(image, -1).copy()).save("upright.png")
    run(run_folder, "tagged.png", "upright.png", "--output", "poses", "--json", "out.json")
    tagged, upright = json.loads(Path("out.json").read_text())["images"]
    assert (tagged["height"], tagged["width"]) == (60, 40)
    assert tagged["joints"] == upright["joints"]


def found_share(names, joints, labelled, *options):
    """Runs `predict` on pictures; returns the share of joints that it finds."""
    predict.main([*names, "--output", "poses", "--json", "poses.json", *options])
    assert len(list(Path("poses").iterdir())) == len(names)
    answers = json.loads(Path("poses.json").read_text())["images"]
    found, counted = metrics.found_joints(
        np.array([answer["joints"] for answer in answers], np.float32),
        np.array(joints, np.float32),
        np.array(labelled, bool),
        LSP_SKELETON.pck_reference,
    )
    return np.sum(found) / np.sum(counted)


def test_the_network_for_drawn_figures_finds_their_joints(folder):
    examples = [figure.draw_figure(7, "test", index, 150) for index in range(12)]
    names = [f"{index}.png" for index in range(len(examples))]
    for name, example in zip(names, examples, strict=True):
        Image.fromarray(np.asarray(example.image, np.uint8)).save(name)
    joints, visibility = zip(*[(e.joints, e.visibility > 0) for e in examples], strict=True)
    assert found_share(names, joints, visibility, "--model", str(STICK_FIGURES)) > 0.5


@pytest.mark.skipif(not (DATA_DIR / "lsp").is_dir(), reason="no photographs here")
def test_the_default_network_finds_joints_in_photographs(folder):
    """On test photographs, whose joints count from 1 in `joints.mat`."""
    numbers = range(1001, 2001, 50)
    names = [str(DATA_DIR / f"lsp/images/im{number:04}.jpg") for number in numbers]
    labels = scipy.io.loadmat(DATA_DIR / "lsp/joints.mat")["joints"]
    joints = [labels[:2, :, number - 1].T - 1 for number in numbers]
    assert found_share(names, joints, np.ones((len(names), 14))) > 0.5


def test_an_output_folder_gets_a_drawing_for_each_input(run_folder, folder):
    run(run_folder, save("a/x.png"), save("b/x.jpg"), save("b/y.png"), "--output", "new/poses")
    assert sorted(os.listdir("new/poses")) == ["x_pose.png", "x_pose2.png", "y_pose.png"]


def test_an_output_picture_shows_all_drawings(run_folder, folder):
    run(run_folder, *[save(f"{i}.png", 600, 400) for i in range(3)], "--output", "out.jpg")
    page = read_image("out.jpg")
    assert page.shape[0] > 1200 and page.shape[1] > 800


def test_bad_pictures_do_not_stop_the_others(run_folder, folder):
    whole = Path(save("whole.jpg")).read_bytes()
    Path("cut.jpg").write_bytes(whole[: len(whole) // 2])
    Path("text.png").write_text("no picture")
    save("good.png")
    names = ["cut.jpg", "good.png", "text.png", "missing.png"]
    message = fails(run_folder, *names, "--output", "poses", "--json", "out.json")
    assert len(message.splitlines()) == 3
    for name in ("cut.jpg", "text.png", "missing.png"):
        assert f"error: {name}: " in message
    assert os.listdir("poses") == ["good_pose.png"]
    assert [image["file"] for image in json.loads(Path("out.json").read_text())["images"]] == [
        "good.png"
    ]


def test_nothing_is_written_for_a_bad_picture(run_folder, folder):
    Path("text.png").write_text("no picture")
    fails(run_folder, "text.png", "--output", "out.png", "--json", "out.json")
    assert os.listdir() == ["text.png"]


def test_errors_are_one_line(run_folder, folder, capsys):
    save("a.png")
    assert "nowhere" in fails("nowhere", "a.png", "--output", "out.png")
    Path("other").mkdir()
    Path("other/saved_model.pb").touch()
    assert "other is a SavedModel" in fails("other", "a.png", "--output", "out.png")
    Path("file").touch()
    assert "The name of a picture is empty" in fails(run_folder, "", "--output", "out.png")
    assert "is the folder of --output" in fails(
        *(run_folder, "a.png", "--output", "new/poses", "--json", "new")
    )
    capsys.readouterr()
    for arguments, message in [
        (["--output", "out.png"], "pictures or --dataset"),
        (["a.png", "--dataset", "lsp", "--output", "out.png"], "pictures or --dataset"),
        (["--dataset", "lsp", "--output", "folder"], "--output is one picture"),
        (["--dataset", "lsp", "--count", "0", "--output", "o.png"], "--count: must be at least 1"),
        (["a.png", "--output", "out.txt"], "out.txt"),
        (["a.png", "--output", "file/poses"], "file is not one"),
        (["a.png", "--output", "/proc/o.png"], "cannot write to"),
        (["a.png", "--output", "o.png", "--json", "/proc/o.json"], "cannot write to"),
        (["a.png", "--output", "-"], "must be a folder, or end in"),
        (["a.png", "--output", "o.png", "--json", ""], "must name a file"),
        (["a.png", "--output", "o.png", "--split", "test"], "--split is for --dataset"),
    ]:
        with pytest.raises(SystemExit) as raised:
            run(run_folder, *arguments)
        (line,) = capsys.readouterr().err.splitlines()
        assert raised.value.code == 2 and message in line
    assert sorted(os.listdir()) == ["a.png", "file", "other"]


def example_dataset(count):
    joints = np.random.default_rng(1).uniform(0, 40, size=(count, 14, 2)).astype(np.float32)
    examples = {
        "image": np.stack([picture(40, 50, seed) for seed in range(count)]),
        "joints": joints,
        "visibility": np.full((count, 14), 2, np.uint8),
    }
    return tf.data.Dataset.from_tensor_slices(examples)


def test_examples_beside_the_truth(run_folder, predictor, folder, monkeypatch, capsys):
    dataset = example_dataset(6)
    # The labels of the first example equal the predictions, so all of its joints count as found.
    joints, _ = predictor.predict(picture(40, 50, 0))

    def with_labels(index, example):
        return example | {"joints": tf.where(index == 0, joints, -1e3 - example["joints"])}

    dataset = dataset.enumerate().map(with_labels)
    monkeypatch.setattr(datasets, "load", lambda *_: (dataset, LSP_SKELETON))
    run(run_folder, "--dataset", "lsp", "--count", "4", "--output", "page.png")
    assert "14 of 56 joints found" in capsys.readouterr().out
    page = read_image("page.png")
    size = predict_examples.GRID_DRAWING_SIZE
    assert page.shape[1] == 4 * size + 2 * 2 + 16
    assert page.shape[0] > 2 * 40 / 50 * size


def test_refuses_a_data_set_with_other_joints(run_folder, folder, monkeypatch):
    other = skeletons.Skeleton(("neck",), (), (), (0, 0))
    monkeypatch.setattr(datasets, "load", lambda *_: (example_dataset(1), other))
    assert "other joints" in fails(run_folder, "--dataset", "lsp", "--output", "page.png")
    assert os.listdir() == []


def test_command_in_another_process(run_folder, folder):
    """The command imports everything that it needs to load the model."""
    save("a.png")
    command = [sys.executable, "-m", "examples.pose.predict", "--model", str(run_folder)]
    process = subprocess.run(
        [*command, str(folder / "a.png"), str(folder / "b.png"), "--output", str(folder / "out")],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=False,
    )
    assert process.returncode == 1
    assert f"error: {folder / 'b.png'}: no such file." in process.stderr.splitlines()
    assert "Traceback" not in process.stderr
    assert os.listdir("out") == ["a_pose.png"]


def test_the_split_to_measure_on_is_the_default(run_folder, folder, monkeypatch):
    def load(name, split, *places):
        raise ValueError(f"{split} of {name}")

    monkeypatch.setattr(datasets, "load", load)
    message = fails(run_folder, "--dataset", "mpii", "--output", "page.png")
    assert message == "error: validation of mpii"


@pytest.mark.parametrize("error", [FileNotFoundError, ValueError])
def test_a_data_set_that_does_not_load_is_a_message(run_folder, folder, monkeypatch, error):
    def load(*arguments):
        raise error(f"nothing for {arguments}")

    monkeypatch.setattr(datasets, "load", load)
    message = fails(
        *[run_folder, "--dataset", "lsp", "--split", "train", "--output", "page.png"],
        *["--data_dir", "data", "--prepared_dir", "prepared"],
    )
    assert message.startswith("error: nothing for ('lsp', 'train', 'data', 'prepared', False")
    assert os.listdir() == []


@pytest.mark.skipif(not (DATA_DIR / "coco_mini").is_dir(), reason="no photographs here")
def test_real_photographs(run_folder, folder):
    photos = sorted((DATA_DIR / "coco_mini" / "images").glob("*.jpg"))[:4]
    run(run_folder, *map(str, photos), "--output", "poses")
    assert len(os.listdir("poses")) == 4


def test_decoding_is_chosen(run_folder, folder):
    save("a.png", 400, 500)
    places = {}
    for decoding in ("peak", "quarter", "dark"):
        run(run_folder, "a.png", "--output", "o.png", "--json", "o.json", "--decoding", decoding)
        (image,) = json.loads(Path("o.json").read_text())["images"]
        places[decoding] = np.array(image["joints"])
    run(run_folder, "a.png", "--output", "o.png", "--json", "o.json")
    (image,) = json.loads(Path("o.json").read_text())["images"]
    np.testing.assert_array_equal(image["joints"], places["quarter"])
    # A cell is two of the network's 32 pixels wide, and 32 pixels are 500 pixels of the picture.
    offsets = np.abs(places["quarter"] - places["peak"])
    assert 0 < offsets.max() <= 0.25 * 2 * 500 / 32 + 1e-3
    assert np.abs(places["dark"] - places["quarter"]).max() > 1
