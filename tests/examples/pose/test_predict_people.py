"""Tests of `predict` on several people in a picture and on videos."""

import json
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from examples.pose import predict
from examples.pose.images import cropping, drawing, video_files
from examples.pose.images.image_files import read_image
from examples.pose.inference import predict_frames, predictor
from tests.examples.commands import outcome, refused
from tests.examples.pose import moving_figures
from tests.examples.pose.tiny_run import write_tiny_run

# Two boxes; the second reaches beyond the picture.
BOXES = [[20.0, 10.0, 40.0, 60.0], [110.0, 30.0, 80.0, 80.0]]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    return write_tiny_run(tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture(scope="module")
def network(run_folder):
    return predictor.load_run(run_folder)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (100, 160, 3), dtype=np.uint8)
    for name in ("a_1.png", "b_2.png", "c_3.png"):
        Image.fromarray(pixels).save(name)
    return tmp_path


def expected(network, image, box):
    """Joints with scores of the person in a box, `[J, 3]`."""
    crop, origin = cropping.crop_to_box(image, box)
    joints, scores = network.predict(crop)
    return np.column_stack([joints + origin, scores])


def run(run_folder, *arguments):
    status, errors = outcome(predict.main, "--model", run_folder, *arguments)
    assert (status, errors) == (0, "")


def text(box):
    return ",".join(map(str, box))


def test_every_box_gets_a_pose(run_folder, network, folder, capsys):
    boxes = [argument for box in BOXES for argument in ("--box", text(box))]
    run(run_folder, "a_1.png", *boxes, "--output", "out.png", "--json", "out.json")
    image = read_image("a_1.png")
    results = json.loads(Path("out.json").read_text())
    assert [r["file_name"] for r in results] == ["a_1.png"] * 2
    poses = [np.reshape(r["keypoints"], (14, 3)) for r in results]
    for pose, box, result in zip(poses, BOXES, results, strict=True):
        np.testing.assert_allclose(pose, expected(network, image, box), rtol=1e-6)
        assert result["score"] == pytest.approx(pose[:, 2].mean())
    poses = np.stack(poses)
    sizes = [(box[2] * box[3]) ** 0.5 for box in BOXES]
    visibility = drawing.visibility_of_scores(poses[..., 2], 0.5)
    drawn = drawing.draw_poses(
        image, poses[..., :2], visibility, network.skeleton, sizes, min_size=384
    )
    np.testing.assert_array_equal(read_image("out.png"), drawn)
    printed = capsys.readouterr().out
    assert "a_1.png, person 1" in printed and "a_1.png, person 2" in printed


def test_a_file_of_boxes_for_several_pictures(run_folder, network, folder):
    """The results file is one that COCO's own code reads."""
    records = [
        {"image_id": 1, "category_id": 4, "bbox": BOXES[0], "score": 0.5},
        {"image_id": 2, "category_id": 4, "bbox": BOXES[1], "score": 0.25},
        {"image_id": 1, "category_id": 4, "bbox": BOXES[1]},
    ]
    Path("boxes.json").write_text(json.dumps(records))
    names = ["a_1.png", "b_2.png", "c_3.png"]
    run(run_folder, *names, "--boxes", "boxes.json", "--output", "poses", "--json", "out.json")
    assert sorted(os.listdir("poses")) == ["a_1_pose.png", "b_2_pose.png", "c_3_pose.png"]
    results = json.loads(Path("out.json").read_text())
    assert [(r["image_id"], r["category_id"]) for r in results] == [(1, 4), (1, 4), (2, 4)]
    image = read_image("a_1.png")
    for result, record in zip(results, (records[0], records[2], records[1]), strict=True):
        pose = expected(network, image, record["bbox"])
        np.testing.assert_allclose(result["keypoints"], pose.ravel(), rtol=1e-6)
        assert result["score"] == pytest.approx(pose[:, 2].mean() * record.get("score", 1))
    truth = COCO()
    truth.dataset = {
        "images": [{"id": 1}, {"id": 2}],
        "annotations": [],
        "categories": [{"id": 4, "name": "person"}],
    }
    truth.createIndex()
    assert len(truth.loadRes("out.json").anns) == 3
    # A picture without boxes is drawn as it is.
    assert read_image("poses/c_3_pose.png").shape == (240, 384, 3)
    # The file is replaced, because this command wrote it. Other lists are not.
    run(run_folder, *names, "--boxes", "boxes.json", "--output", "poses", "--json", "out.json")
    arguments = ["--model", run_folder, *names, "--boxes", "boxes.json", "--output", "poses"]
    assert "would overwrite the input" in refused(
        predict.main,
        *arguments[:-4],
        "--boxes",
        "out.json",
        "--output",
        "poses",
        "--json",
        "out.json",
    )
    Path("mine.json").write_text('[{"image_id": 1}]')
    assert "not written by this command" in refused(predict.main, *arguments, "--json", "mine.json")


def test_a_box_outside_does_not_stop_the_other_pictures(run_folder, folder):
    records = [{"image_id": 1, "bbox": [500, 500, 10, 10]}, {"image_id": 2, "bbox": BOXES[0]}]
    Path("boxes.json").write_text(json.dumps(records))
    arguments = ["a_1.png", "b_2.png", "--boxes", "boxes.json", "--output", "poses"]
    status, errors = outcome(predict.main, "--model", run_folder, *arguments)
    assert status == 1 and "a_1.png: the box [500.0, 500.0, 10.0, 10.0] does not ov" in errors
    assert os.listdir("poses") == ["b_2_pose.png"]


def test_a_name_that_fits_several_pictures_does_not_stop_the_others(run_folder, folder):
    names = ("a_1.png", "x/b_2.png", "y/b_2.png")
    records = [{"file_name": name, "bbox": BOXES[0]} for name in names]
    Path("boxes.json").write_text(json.dumps(records))
    arguments = ["a_1.png", "b_2.png", "--boxes", "boxes.json", "--output", "page.png"]
    status, errors = outcome(predict.main, "--model", run_folder, *arguments)
    assert status == 1 and "b_2.png may be x/b_2.png or y/b_2.png" in errors
    assert Path("page.png").exists()


@pytest.mark.usefixtures("full_at_the_second_write")
def test_all_people_of_a_picture_are_written_or_none(run_folder, folder):
    names = ["a_1.png", "b_2.png", "c_3.png"]
    records = [{"image_id": k, "bbox": box} for k in (1, 2, 3) for box in BOXES]
    Path("boxes.json").write_text(json.dumps(records))
    arguments = [*names, "--boxes", "boxes.json", "--output", "poses", "--json", "out.json"]
    message = refused(predict.main, "--model", run_folder, *arguments)
    done = [result["image_id"] for result in json.loads(Path("out.json").read_text())]
    assert done == [1, 1, 2, 2]
    assert "2 of 3 pictures are finished" in message and "from c_3.png on" in message


def test_results_of_an_earlier_command_do_not_stay(run_folder, folder):
    records = [{"image_id": 1, "bbox": [500, 500, 10, 10]}]
    Path("boxes.json").write_text(json.dumps(records))
    Path("out.json").write_text("[]")
    arguments = ["a_1.png", "b_2.png", "--boxes", "boxes.json", "--output", "poses"]
    run(run_folder, "c_3.png", "--box", text(BOXES[0]), "--output", "p", "--json", "out.json")
    status, _ = outcome(predict.main, "--model", run_folder, *arguments, "--json", "out.json")
    assert status == 1 and json.loads(Path("out.json").read_text()) == []


@pytest.mark.parametrize("arguments,message", [
    (["a_1.png", "--box", "1,2,3"], "must be x,y,width,height in pixels, got '1,2,3'"),
    (["a_1.png", "--box", "1,2,0,5"], "must be x,y,width,height"),
    (["a_1.png", "--box", "1,2,nan,5"], "must be x,y,width,height"),
    (["a_1.png", "--box", "a,2,3,5"], "must be a number, got 'a'"),
    (["a_1.png", "b_2.png", "--box", "1,2,9,9"], "--box is for one picture"),
    (["a_1.png", "--box", "1,2,9,9", "--boxes", "boxes.json"], "--box is for one picture"),
    (["--dataset", "lsp", "--box", "1,2,9,9"], "--box and --boxes are for pictures"),
    (["a_1.png", "--boxes", "none.json"], "none.json: No such file"),
    (["c_3.png", "--boxes", "boxes.json"], "boxes.json has no box for c_3.png"),
    (["a_1.png", "--smooth"], "--smooth is for a video"),
    (["clip.mp4", "--smooth"],
     "give one video (.mp4 .mov .m4v .mkv .webm .avi), and a video as --output"),
])  # fmt: skip
def test_wrong_arguments(run_folder, folder, arguments, message):
    Path("boxes.json").write_text(json.dumps([{"image_id": 1, "bbox": BOXES[0]}]))
    arguments = ["--model", run_folder, *arguments, "--output", "out.png"]
    assert message in refused(predict.main, *arguments)


@pytest.fixture
def clip(folder):
    """Frames of a video, and the box of the figure in each."""
    pytest.importorskip("av")
    return moving_figures.write("clip.mp4", count=5)


def frames_of(path):
    with video_files.reading(path) as video:
        return list(video.frames)


def test_a_video_is_drawn_frame_by_frame(run_folder, network, clip):
    run(run_folder, "clip.mp4", "--output", "out.mp4", "--json", "out.json", "--min_score", "0")
    results = json.loads(Path("out.json").read_text())
    before, after = frames_of("clip.mp4"), frames_of("out.mp4")
    assert [result["image_id"] for result in results] == list(range(5))
    assert [frame.time for frame in after] == [frame.time for frame in before]
    for result, old, new in zip(results, before, after, strict=True):
        pose = np.reshape(result["keypoints"], (14, 3))
        joints, scores = network.predict(old.image)
        np.testing.assert_allclose(pose, np.column_stack([joints, scores]), atol=1e-4)
        drawn = drawing.draw_pose(old.image, joints, np.full(14, 2), network.skeleton)
        assert np.abs(drawn.astype(int) - old.image).mean() > 1
        assert np.abs(drawn.astype(int) - new.image).mean() < 4


def test_boxes_of_each_frame(run_folder, network, clip):
    records = [
        {"image_id": index, "bbox": list(map(float, box))}
        for index, (_, box) in enumerate(clip)
        if index != 2
    ]
    Path("boxes.json").write_text(json.dumps(records))
    arguments = ["clip.mp4", "--output", "out.mp4", "--json", "out.json"]
    run(run_folder, *arguments, "--boxes", "boxes.json")
    results = json.loads(Path("out.json").read_text())
    assert [result["image_id"] for result in results] == [0, 1, 3, 4]
    # The figure moves by 4 pixels a frame, and its pose with it.
    image = frames_of("clip.mp4")[4].image
    np.testing.assert_allclose(
        np.reshape(results[-1]["keypoints"], (14, 3)),
        expected(network, image, records[-1]["bbox"]),
        atol=1e-4,
    )


def test_a_box_outside_of_its_frame_does_not_stop_the_video(run_folder, clip, capsys):
    inside, outside = [8, 13, 100, 64], [5000, 13, 100, 64]
    records = [{"image_id": k, "bbox": inside if k % 2 else outside} for k in range(5)]
    Path("boxes.json").write_text(json.dumps(records))
    arguments = ["clip.mp4", "--output", "out.mp4", "--json", "out.json", "--boxes", "boxes.json"]
    status, errors = outcome(predict.main, "--model", run_folder, *arguments)
    assert status == 1
    assert "3 boxes of boxes.json were left out: they lie outside of their frames" in errors
    assert [r["image_id"] for r in json.loads(Path("out.json").read_text())] == [1, 3]
    assert len(frames_of("out.mp4")) == 5
    assert "Joints and scores: out.json" in capsys.readouterr().out


def test_boxes_for_no_frame(run_folder, clip, capsys):
    arguments = ["clip.mp4", "--output", "out.mp4", "--json", "out.json", "--boxes", "boxes.json"]
    Path("boxes.json").write_text('[{"image_id": "clip", "bbox": [8, 13, 100, 64]}]')
    assert "must be the number of a frame, counted from 0" in refused(
        predict.main, "--model", run_folder, *arguments
    )
    Path("boxes.json").write_text('[{"image_id": 77, "bbox": [8, 13, 100, 64]}]')
    Path("out.json").write_text("[]")
    status, errors = outcome(predict.main, "--model", run_folder, *arguments)
    assert status == 1 and "1 boxes of boxes.json were left out" in errors
    # An earlier file would look like the results of this command.
    assert json.loads(Path("out.json").read_text()) == []
    assert "Joints and scores: out.json" in capsys.readouterr().out


def test_smoothing_changes_all_frames_but_the_first(run_folder, clip):
    found = {}
    for smooth in ([], ["--smooth"]):
        arguments = ["clip.mp4", "--output", "out.mp4", "--json", "out.json", *smooth]
        run(run_folder, *arguments, "--box", "8,13,100,64", "--box", "30,13,100,64")
        results = json.loads(Path("out.json").read_text())
        poses = np.reshape([r["keypoints"] for r in results], (5, 2, 14, 3))
        found[bool(smooth)] = poses
    np.testing.assert_array_equal(found[True][0], found[False][0])
    np.testing.assert_array_equal(found[True][..., 2], found[False][..., 2])
    assert (found[True][1:, ..., :2] != found[False][1:, ..., :2]).any(axis=(1, 2, 3)).all()


def test_a_stopped_video_keeps_the_finished_frames(network, clip):
    class Stopping:
        skeleton = network.skeleton
        calls = 0

        def predict(self, image):
            self.calls += 1
            if self.calls == 4:
                raise KeyboardInterrupt
            return network.predict(image)

    with pytest.raises(KeyboardInterrupt, match=r"The first 3 frames are finished: out\.mp4"):
        predict_frames.predict_frames(Stopping(), "clip.mp4", Path("out.mp4"), 0.5)
    assert len(frames_of("out.mp4")) == 3
    assert not list(Path().glob(".partial*"))


def write_noise(path):
    """Writes a video of 4 seconds, with frames of about the same size in the file."""
    random = np.random.default_rng(0)
    with video_files.Writer(path, Fraction(10)) as writer:
        for index in range(40):
            noise = random.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            writer.add(noise, Fraction(index, 10))


def test_a_damaged_video_keeps_the_frames_before_the_damage(run_folder, folder):
    pytest.importorskip("av")
    write_noise("clip.mp4")
    data = bytearray(Path("clip.mp4").read_bytes())
    half = len(data) // 2
    data[half : half + 3000] = bytes(3000)
    Path("clip.mp4").write_bytes(data)
    arguments = ["clip.mp4", "--output", "out.mp4", "--json", "out.json"]
    message = refused(predict.main, "--model", run_folder, *arguments)
    assert "clip.mp4: cannot be read: " in message
    count = len(json.loads(Path("out.json").read_text()))
    assert f"The first {count} frames are finished: out.mp4." in message
    assert len(frames_of("out.mp4")) == count > 10


def test_a_video_that_was_cut_off_is_an_error(run_folder, clip):
    """As after an interrupted download. FFmpeg only ends early."""
    write_noise("clip.mkv")
    data = Path("clip.mkv").read_bytes()
    Path("clip.mkv").write_bytes(data[: len(data) // 2])
    message = refused(predict.main, "--model", run_folder, "clip.mkv", "--output", "out.mp4")
    count = len(frames_of("out.mp4"))
    assert 10 < count < 30 and "of 4.0 seconds: a part of the file is missing." in message
    assert message.endswith(f"The first {count} frames are finished: out.mp4.")


@pytest.mark.usefixtures("full_at_the_second_write")
def test_a_video_is_kept_if_its_json_cannot_be_written(run_folder, clip):
    arguments = ["clip.mp4", "--output", "out.mp4", "--json", "out.json"]
    message = refused(predict.main, "--model", run_folder, *arguments)
    assert "out.json: cannot be written: No space left on device. The first 2 frames" in message
    assert len(frames_of("out.mp4")) == len(json.loads(Path("out.json").read_text())) == 2


def test_a_box_may_begin_outside_of_the_picture(run_folder, network, folder):
    arguments = ["a_1.png", "--output", "out.png", "--json", "out.json"]
    run(run_folder, *arguments, "--box", "-5,-10,60,90")
    (result,) = json.loads(Path("out.json").read_text())
    pose = expected(network, read_image("a_1.png"), (-5, -10, 60, 90))
    np.testing.assert_allclose(np.reshape(result["keypoints"], (14, 3)), pose, atol=1e-4)


def test_a_bad_video_is_one_clear_error_and_writes_nothing(run_folder, clip):
    Path("bad.mp4").write_bytes(b"no video")
    arguments = ["--model", run_folder, "--output", "out.mp4"]
    assert "bad.mp4: cannot be read" in refused(predict.main, "bad.mp4", *arguments)
    assert "frame 0: the box" in refused(
        predict.main, "clip.mp4", *arguments, "--box", "500,500,9,9"
    )
    assert "would overwrite the input" in refused(
        predict.main, "--model", run_folder, "clip.mp4", "--output", "./clip.mp4"
    )
    assert not Path("out.mp4").exists()
