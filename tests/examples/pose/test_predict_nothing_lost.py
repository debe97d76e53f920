"""`predict` never replaces inputs or files of other programs, and keeps results if it fails."""

import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from examples.pose import predict
from examples.pose.cli import interruption
from examples.pose.images.image_files import ImageWriteError
from examples.pose.inference import predict_files, prediction
from tests.examples.commands import outcome, refused
from tests.examples.pose.tiny_run import write_tiny_run

REPOSITORY = Path(predict.__file__).parents[2]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    return write_tiny_run(tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save(path, height=40, width=60):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return str(path)


def contents(folder):
    return {p: p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


def fails(run_folder, *arguments):
    return refused(predict.main, "--model", run_folder, *arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["a.jpg", "--output", "a.jpg"],
        ["a.jpg", "--output", "./sub/../a.jpg"],
        ["a.jpg", "--output", "link.jpg"],
        ["link.jpg", "--output", "a.jpg"],
        ["a.jpg", "--output", "hard.jpg"],
        ["b.jpg", "a.jpg", "--output", "{here}/a.jpg"],
        ["a.jpg", "a_pose.png", "--output", "."],
        ["sub/a.jpg", "a_pose.png", "--output", "{here}"],
        ["sub/a.jpg", "a_pose.png", "--output", "sub/.."],
        ["sub/a.jpg", "a_pose.png", "--output", "here"],
        ["a.jpg", "--output", "o.png", "--json", "a.jpg"],
        ["a.jpg", "--output", "o.png", "--json", "o.png"],
        ["a.jpg", "--output", "o.png", "--json", "O.PNG"],
        ["a.jpg", "--output", "o.png", "--json", "notes.txt"],
        ["a.jpg", "--output", "o.png", "--json", "labels.json"],
        ["a.jpg", "--output", "o.png", "--json", "sub"],
        ["a.jpg", "--output", "o.png", "--json", "run/config.json"],
        ["a.jpg", "--output", "o.png", "--json", "run/model.keras"],
        ["a.jpg", "--output", "notes.txt/poses"],
        ["a.jpg", "--output", "notes"],
        ["a.jpg", "--output", "poses.png"],
    ],
    ids=" ".join,
)
def test_inputs_are_never_replaced(run_folder, folder, arguments):
    for name in ("a.jpg", "b.jpg", "sub/a.jpg", "a_pose.png"):
        save(name)
    os.symlink("a.jpg", "link.jpg")
    os.link("a.jpg", "hard.jpg")
    os.symlink(".", "here")
    Path("notes.txt").write_text("mine")
    Path("notes").write_text("mine")
    Path("labels.json").write_text('{"images": [], "annotations": []}')
    Path("poses.png").mkdir()
    shutil.copytree(run_folder, "run")
    before = contents(folder)
    fails("run", *[argument.format(here=folder) for argument in arguments])
    assert contents(folder) == before


def test_the_shipped_model_and_the_data_are_not_replaced(run_folder, folder, monkeypatch):
    page = save("data/lsp/images/im0001.png")
    before = contents(folder)
    arguments = ["--dataset", "lsp", "--data_dir", "data", "--output", page]
    assert "which is read" in fails(run_folder, *arguments)
    assert contents(folder) == before


def test_earlier_results_are_replaced(run_folder, folder):
    save("a.png")
    for _ in range(2):
        predict.main(["--model", str(run_folder), "a.png", "--output", "p.png", "--json", "p.json"])
    assert len(json.loads(Path("p.json").read_text())["images"]) == 1


def test_a_picture_given_twice_is_used_once(run_folder, folder, capsys):
    save("a.png")
    arguments = ["a.png", "./a.png", "--output", "poses", "--json", "p.json"]
    predict.main(["--model", str(run_folder), *arguments])
    assert os.listdir("poses") == ["a_pose.png"]
    assert len(json.loads(Path("p.json").read_text())["images"]) == 1
    assert "given twice" in capsys.readouterr().err


def test_names_that_some_file_systems_confuse():
    names = predict_files.unique_names(["x.jpg", "X.png", "x_pose2.jpg", "caf\u00e9", "cafe\u0301"])
    assert len({name.casefold() for name in names}) == 5
    assert names[:2] == ["x_pose.png", "X_pose2.png"] and names[-1].endswith("_pose2.png")
    (long,) = predict_files.unique_names([250 * "\u00e9"])
    assert len(long.encode()) < 230


def start(run_folder, *arguments):
    command = [sys.executable, "-m", "examples.pose.predict", "--model", str(run_folder)]
    return subprocess.Popen(
        [*command, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# SIGTERM is handled like SIGINT; `test_interruption.py` tests both.
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_command_keeps_finished_results(run_folder, folder, number):
    count = 3000
    paths = [save(folder / f"{i:04d}.png", 300, 200) for i in range(3)]
    paths += [shutil.copy(paths[0], folder / f"{i:04d}.png") for i in range(3, count)]
    answers = folder / "out.json"
    process = start(run_folder, *paths, "--output", str(folder / "poses"), "--json", str(answers))
    # A table is printed for each finished picture.
    while "0002.png" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    done = [entry["file"] for entry in json.loads(answers.read_text())["images"]]
    drawn = sorted(os.listdir(folder / "poses"))
    assert 3 <= len(done) < count and done == paths[: len(done)]
    assert [name for name in drawn if not name.startswith(".")][: len(done)] == [
        f"{Path(path).stem}_pose.png" for path in done
    ]
    if number == signal.SIGKILL:
        return
    assert process.returncode == 128 + number
    assert "Traceback" not in errors
    message = errors.strip().splitlines()[-1]
    assert message.startswith(f"stopped. {len(done)} of {count} pictures are finished")
    assert str(answers) in message and f"from {paths[len(done)]} on" in message
    assert not any(name.startswith(".") for name in drawn)


def test_an_interrupted_page_is_written(run_folder, folder, monkeypatch):
    names = [save(f"{i}.png") for i in range(4)]
    real = predict_files.read_image

    def interrupted(path):
        if path == "2.png":
            raise interruption.Stopped(signal.SIGINT)
        return real(path)

    monkeypatch.setattr(predict_files, "read_image", interrupted)
    status, error = outcome(
        predict.main, "--model", run_folder, "bad.png", *names, "--output", "page.png"
    )
    assert status == 130
    assert "error: bad.png: no such file." in error
    assert (
        "2 of 5 pictures are finished" in error and "from 2.png on, with another --output" in error
    )
    assert Image.open("page.png").size[0] > 2 * predict_files.DRAWING_SIZE


def test_going_on_does_not_replace_drawings_of_pictures_with_the_same_name(
    run_folder, folder, monkeypatch
):
    names = [save(f"{camera}/{i}.png") for camera in ("a", "b") for i in (1, 2)]
    real = predict_files.read_image

    def interrupted_at(last):
        def read(path):
            if path == last:
                raise interruption.Stopped(signal.SIGINT)
            return real(path)

        return read

    for last, advice in (("b/1.png", ", with another --output."), ("a/2.png", "on.")):
        monkeypatch.setattr(predict_files, "read_image", interrupted_at(last))
        given = names if last == "b/1.png" else names[:2]
        _, error = outcome(predict.main, "--model", run_folder, *given, "--output", "poses")
        assert f"from {last} on" in error and error.endswith(advice)


def test_a_link_stays_a_link(run_folder, folder):
    save("a.png")
    Path("real").mkdir()
    for name in ("page.png", "out.json"):
        os.symlink(f"real/{name}", name)
    arguments = ["--model", run_folder, "a.png", "--output", "page.png", "--json", "out.json"]
    for _ in range(2):
        assert outcome(predict.main, *arguments) == (0, "")
    assert os.path.islink("page.png") and os.path.islink("out.json")
    assert sorted(os.listdir("real")) == ["out.json", "page.png"]
    assert len(json.loads(Path("real/out.json").read_text())["images"]) == 1


def test_a_full_disk_gives_a_one_line_error_and_keeps_finished_results(run_folder, folder):
    names = [save(f"{i}.png", 20 + 400 * (i == 2), 20 + 400 * (i == 2)) for i in range(4)]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The third drawing is larger than this limit, in bytes.
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        message = fails(run_folder, *names, "--output", "poses", "--json", "out.json")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "cannot be written: File too large" in message
    assert "2 of 4 pictures are finished" in message and "from 2.png on" in message
    assert sorted(os.listdir("poses")) == ["0_pose.png", "1_pose.png"]
    assert len(json.loads(Path("out.json").read_text())["images"]) == 2


@pytest.mark.usefixtures("full_at_the_second_write")
def test_if_the_json_cannot_be_written_finished_results_are_kept(run_folder, folder):
    names = [save(f"{i}.png") for i in range(3)]
    message = fails(run_folder, *names, "--output", "page.png", "--json", "out.json")
    assert "out.json: cannot be written: No space left on device." in message
    assert len(json.loads(Path("out.json").read_text())["images"]) == 2
    assert Path("page.png").exists()


def test_one_failure_does_not_lose_the_others(run_folder, folder, monkeypatch):
    names = [save(f"{i}.png") for i in range(3)]
    real = predict_files.read_image
    monkeypatch.setattr(
        predict_files,
        "read_image",
        lambda path: np.full((4, 4, 3), 7, np.uint8) if path == "1.png" else real(path),
    )
    load = prediction.load_predictor

    def load_broken_predictor(*arguments):
        predictor = load(*arguments)
        predict_image = predictor.predict

        def predict_with_scores_of_zero(image):
            joints, scores = predict_image(image)
            return (joints, scores * (0 if image.shape[0] == 4 else 1))

        predictor.predict = predict_with_scores_of_zero
        return predictor

    monkeypatch.setattr(prediction, "load_predictor", load_broken_predictor)
    message = fails(run_folder, *names, "--output", "poses", "--json", "out.json")
    assert message == "error: 1.png: the network's output is NaN or infinite."
    done = [entry["file"] for entry in json.loads(Path("out.json").read_text())["images"]]
    assert done == ["0.png", "2.png"]


class FullOutput(io.StringIO):
    """A standard output that accepts the tables of two pictures."""

    def write(self, text):
        if "2.png" in text:
            raise OSError(28, "No space left on device")
        return super().write(text)


class EndedReader(io.StringIO):
    """A standard output whose reader ends after two pictures, as `| head` does."""

    def write(self, text):
        if "2.png" in text:
            raise SystemExit(1)  # What rich makes of a broken pipe.
        return super().write(text)


@pytest.mark.parametrize(
    ("stream", "reason"),
    [(FullOutput, "No space left on device"), (EndedReader, "Broken pipe")],
)
def test_a_page_is_written_if_tables_cannot_be_printed(
    run_folder, folder, monkeypatch, stream, reason
):
    names = [save(f"{i}.png") for i in range(4)]
    monkeypatch.setattr(sys, "stdout", stream())
    message = fails(run_folder, *names, "--output", "page.png")
    assert message.startswith(f"error: standard output: {reason}. 3 of 4 pictures are finished: ")
    assert "drawings in page.png" in message and "from 3.png on, with another --output" in message
    assert Image.open("page.png").size[0] > 2 * predict_files.DRAWING_SIZE


def test_a_page_fits_the_limits_of_its_format(run_folder, folder, monkeypatch):
    monkeypatch.setattr(predict_files, "MAX_PAGE_SIDE", 500)
    names = [save(f"{i}.png") for i in range(3)]
    arguments = ["--model", run_folder, *names, "--output", "page.webp"]
    assert outcome(predict.main, *arguments) == (0, "")
    assert max(Image.open("page.webp").size) == 500


def test_drawings_are_kept_as_small_as_on_their_page(monkeypatch):
    monkeypatch.setattr(predict_files, "MAX_PAGE_SIDE", 500)
    outputs = predict_files.Outputs(Path("page.webp"), None, count=90)
    for _ in range(3):
        outputs.add("unused", np.zeros((400, 600, 3), np.uint8), [])
    assert {drawing.shape for drawing in outputs._page_drawings} == {(33, 50, 3)}


def test_if_the_page_cannot_be_written_bad_pictures_are_still_reported(
    run_folder, folder, monkeypatch
):
    def full(path, image):
        raise ImageWriteError(f"{path}: cannot be written: No space left on device.")

    monkeypatch.setattr(predict_files, "write_image", full)
    arguments = ["--model", run_folder, "bad.png", save("a.png"), "--output", "page.png"]
    status, errors = outcome(predict.main, *arguments)
    assert status == 1 and "error: bad.png: no such file." in errors
    assert "page.png: cannot be written" in errors and "drawings in page.png" not in errors


def test_a_page_that_is_too_large_gives_a_one_line_error(folder):
    with pytest.raises(ImageWriteError, match=r"page\.webp: cannot be written: ") as raised:
        predict_files.write_image("page.webp", np.zeros((1, 17000, 3), np.uint8))
    assert "\n" not in str(raised.value)
    assert os.listdir() == []


@pytest.mark.parametrize("value", ["3", "-1", "nan", "inf", "x", ""])
def test_min_score_is_from_0_to_1(run_folder, folder, capsys, value):
    with pytest.raises(SystemExit) as raised:
        predict.main(["a.png", "--output", "o.png", "--min_score", value])
    assert raised.value.code == 2
    assert "--min_score" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("arguments,words", [
    (["a.png", "--model", ""], "--model: must name a file or folder, got an empty name"),
    (["a.png", "--boxes", " "], "--boxes: must name a file or folder, got an empty name"),
    (["a.png", "--split", "test"], "--split is for --dataset"),
    (["a.png", "--count", "3"], "--count is for --dataset"),
    (["a.png", "--data_dir", "."], "--data_dir is for --dataset"),
    (["a.png", "--skip_broken"], "--skip_broken is for --dataset"),
    (["--dataset", "lsp", "--images", "."], "are for --dataset keypoints"),
])  # fmt: skip
def test_options_are_not_ignored(run_folder, folder, arguments, words):
    save("a.png")
    assert words in fails(run_folder, *arguments, "--output", "o.png")
    assert not Path("o.png").exists()


@pytest.mark.parametrize("output", ["", "o.txt", "o.gif", "folder.v2"])
def test_output_is_a_picture_or_a_folder(folder, capsys, output):
    with pytest.raises(SystemExit):
        predict.main(["a.png", "--output", output])
    message = capsys.readouterr().err
    assert (
        "must name a file or folder" in message
        or "must be a folder, or end in .png, .jpg" in message
    )


def test_file_names_that_are_not_valid_text(run_folder, folder, capsys):
    name = os.fsdecode(b"\xff [red].png")
    save(name)
    predict.main(["--model", str(run_folder), name, "--output", "poses", "--json", "o.json"])
    assert "[red].png" in capsys.readouterr().out
    assert len(os.listdir("poses")) == 1
