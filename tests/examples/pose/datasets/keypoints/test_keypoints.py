"""Tests of the data set `keypoints`: pictures and labels of the user's own."""

import json

import numpy as np
import pytest
from etils import epath
from PIL import Image

from examples.pose import datasets, train
from examples.pose.datasets import KeypointFiles, in_memory, sources
from examples.pose.datasets import __main__ as command
from examples.pose.datasets.keypoints.keypoints_dataset_builder import held_out_names
from examples.pose.images.image_files import read_image
from tests.examples.commands import outcome, refused
from tests.examples.pose import kites


@pytest.fixture
def labels(tmp_path):
    """Labels of ten pictures of kites."""
    return kites.write(tmp_path, 10)


def load(labels, split="train", **files):
    files = KeypointFiles(images=str(labels.parent / "pictures"), annotations=str(labels), **files)
    return datasets.load("keypoints", split, None, labels.parent / "prepared", False, files)


def ids(dataset):
    return [int(example["person"]["image_id"]) for example in dataset.as_numpy_iterator()]


def boxes_by_person(labels):
    people = [example["person"] for example in load(labels)[0].as_numpy_iterator()]
    return {int(person["person_id"]): person["box"] for person in people}


def change(labels, **changes):
    """Changes entries of the file's category."""
    content = json.loads(labels.read_text())
    content["categories"] = [{**kites.CATEGORY, **changes}]
    labels.write_text(json.dumps(content))


def minimal(folder, count, **category):
    """Writes labels of two pictures: things of `count` joints, without optional fields."""
    content = json.loads(kites.write(folder, 2).read_text())
    for record in content["annotations"]:
        record["keypoints"] = record["keypoints"][: 3 * count]
        record["bbox"] = [10, 10, 60, 40]
    content["categories"] = [category] if category else []
    path = folder / "minimal.json"
    path.write_text(json.dumps(content))
    return path


def test_skeleton_is_read_from_the_category(labels):
    _, skeleton = load(labels)
    names = ("nose", "left_wing", "right_wing", "tail", "knot_1", "knot_2")
    assert skeleton.joint_names == names
    assert skeleton.flip_pairs == ((1, 2),)
    assert skeleton.limbs == ((0, 1), (0, 2), (1, 3), (2, 3), (3, 4), (4, 5))
    assert skeleton.pck_reference is None


def test_every_thing_in_a_picture_is_an_example(labels):
    content = json.loads(labels.read_text())
    found = {}
    for split in ("train", "validation"):
        dataset, _ = load(labels, split)
        for example in dataset.as_numpy_iterator():
            found[int(example["person"]["person_id"])] = example
    assert len(found) == len(content["annotations"]) > len(content["images"])
    for record in content["annotations"]:
        example = found[record["id"]]
        expected = np.reshape(record["keypoints"], (6, 3))
        np.testing.assert_allclose(
            example["joints"] + example["person"]["origin"], expected[:, :2], atol=1e-3
        )
        np.testing.assert_array_equal(example["visibility"], expected[:, 2])


def test_each_picture_is_trained_on_or_held_out(labels):
    held_out, trained_on = (set(ids(load(labels, s)[0])) for s in ("validation", "train"))
    assert held_out and trained_on and not held_out & trained_on
    assert held_out | trained_on == set(range(1, 11))


def test_about_a_fifth_of_the_pictures_is_held_out_by_name():
    names = [f"{folder}/picture {i}.jpg" for i in range(500) for folder in ("a", "b")]
    held_out = held_out_names(names)
    assert 150 < len(held_out) < 250
    # Neither other pictures nor folders move a picture to the other split.
    some = names[300:400]
    assert held_out_names(some) == held_out & set(some)
    assert {name.replace("a/", "b/") for name in held_out} <= held_out


@pytest.mark.parametrize("count", range(1, 12))
def test_few_pictures_are_in_both_splits(count):
    for first in range(40):
        names = {f"{first + i}.jpg" for i in range(count)}
        held_out = held_out_names(names)
        assert held_out <= names and 1 <= len(held_out) <= max(1, count - 1)


def test_copies_by_roboflow_are_in_one_split():
    names = {f"IMG_{i}_jpg.rf.{i * 7919 + k:032x}.jpg" for i in range(40) for k in range(3)}
    held_out = held_out_names(names)
    assert 0 < len(held_out) < 60
    pictures = {name.partition(".rf.")[0] for name in held_out}
    assert len(held_out) == 3 * len(pictures)
    copies = {f"a_jpg.rf.{k:032x}.jpg" for k in range(3)}
    assert len(held_out_names(copies)) == 1


def test_pictures_that_only_folders_tell_apart_are_held_out_by_folder():
    names = {f"capture{i:02d}/{side}.png" for i in range(100) for side in ("left", "right")}
    held_out = held_out_names(names)
    assert 20 < len(held_out) < 70
    assert held_out_names(names | {"capture100/left.png"}) & names == held_out
    # The choice does not depend on the order of a set, which differs between processes.
    few = [f"{i}/rgb.png" for i in range(3)]
    assert held_out_names(few) == held_out_names(few[::-1])


def test_a_faulty_label_is_reported_once(labels):
    content = json.loads(labels.read_text())
    content["annotations"][0]["keypoints"][2] = 3
    labels.write_text(json.dumps(content))
    with pytest.raises(ValueError) as caught:
        load(labels)
    assert str(caught.value).count("annotations[0]") == 1
    assert "files or records" not in str(caught.value)


def test_changed_pictures_behind_a_link_are_noticed(labels, tmp_path, capsys):
    pictures = labels.parent / "pictures"
    pictures.rename(tmp_path / "elsewhere")
    pictures.mkdir()
    (pictures / "linked").symlink_to(tmp_path / "elsewhere")
    load(labels)
    for path in (tmp_path / "elsewhere").glob("*.*"):
        with Image.open(path) as picture:
            picture.rotate(180).save(path)
    capsys.readouterr()
    load(labels)
    assert "prepared again" in capsys.readouterr().err


def test_links_in_a_circle_end(labels):
    pictures = labels.parent / "pictures"
    before = sources.describe(epath.Path(pictures))
    (pictures / "around").symlink_to(pictures)
    assert sources.describe(epath.Path(pictures)) == before


def test_pictures_numbered_anew_stay_in_their_split(labels):
    before = {e["id"] for e in load(labels, "validation")[0].as_numpy_iterator()}
    content = json.loads(labels.read_text())
    for record in content["images"]:
        record["id"] = 100 - record["id"]
    for record in content["annotations"]:
        record["image_id"] = 100 - record["image_id"]
    labels.write_text(json.dumps(content))
    assert {e["id"] for e in load(labels, "validation")[0].as_numpy_iterator()} == before


def test_a_file_to_measure_on(labels, tmp_path):
    other = kites.write(tmp_path, 3, seed=1)
    assert set(ids(load(labels, "train", validation=str(other))[0])) == set(range(1, 11))
    dataset, _ = load(labels, "validation", validation=str(other))
    assert {e["id"].decode()[0] for e in dataset.as_numpy_iterator()} == {"1"}
    # To measure a finished run, the labels that it was trained on are not needed.
    files = KeypointFiles(str(tmp_path / "pictures"), None, str(other))
    alone, _ = datasets.load("keypoints", "validation", None, tmp_path / "alone", False, files)
    assert sorted(ids(alone)) == sorted(ids(dataset))


def test_the_file_to_measure_on_is_read_again_if_the_joints_change(labels, tmp_path, capfd):
    other = kites.write(tmp_path, 3, seed=1)
    before = list(load(labels, "validation", validation=str(other))[0].as_numpy_iterator())
    names = [kites.JOINTS[1], kites.JOINTS[0], *kites.JOINTS[2:]]
    change(labels, keypoints=names, skeleton=[])
    dataset, skeleton = load(labels, "validation", validation=str(other))
    assert "prepared again" in capfd.readouterr().err
    assert skeleton.joint_names[:2] == ("left_wing", "nose")
    for old, new in zip(before, dataset.as_numpy_iterator(), strict=True):
        np.testing.assert_array_equal(new["joints"][[1, 0]], old["joints"][:2])


def test_a_picture_with_two_ids_is_said(labels, capfd):
    content = json.loads(labels.read_text())
    first = content["images"][0]
    content["images"].append({**first, "id": 99})
    labels.write_text(json.dumps(content))
    load(labels)
    said = f"1 pictures have several `id`, such as {first['id']} and 99 for {first['file_name']}"
    assert said in capfd.readouterr().err


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("named", [True, False])
def test_few_joints_and_missing_fields(tmp_path, count, named):
    names = ["tip", "base"][:count]
    path = minimal(tmp_path, count, **({"id": 3, "keypoints": names} if named else {}))
    dataset, skeleton = load(path)
    assert skeleton.joint_names == (tuple(names) if named else ("joint_1", "joint_2")[:count])
    assert skeleton.limbs == skeleton.flip_pairs == ()
    for example in dataset.as_numpy_iterator():
        low, high = example["person"]["box"].reshape(2, 2)
        np.testing.assert_allclose(high - low, [60, 40], atol=1e-3)


@pytest.mark.parametrize("names,pairs", [
    (["EarL", "EarR", "tail"], [("left_ear", "right_ear")]),
    (["ear_left", "ear_right", "tail"], [("left_ear", "right_ear")]),
    (["L1", "L2", "R"], []),
    (["Flügel links", "尾", "p"], []),
    (["P1", "p1", "p_2"], []),
    (["leftear", "rightear", "nose"], [("left_ear", "right_ear")]),
    (["EARLEFT", "EARRIGHT", "nose"], [("left_ear", "right_ear")]),
    (["left", "Right", "top"], [("left", "right")]),
    (["L", "R", "top"], [("left", "right")]),
    (["Lwing", "Rwing", "tail"], [("lwing", "rwing")]),
    (["relb", "tip", "lelb"], [("lelb", "relb")]),
    (["*", "left ear", "right ear"], [("left_ear", "right_ear")]),
    (["bright", "rear", "light"], []),
    (["l_r_wheel", "r_r_wheel", "l_f_wheel"], [("left_right_wheel", "right_right_wheel")]),
])  # fmt: skip
def test_sides_are_recognized_by_name(tmp_path, names, pairs):
    dataset, skeleton = load(minimal(tmp_path, 3, id=3, keypoints=names))
    found = [tuple(skeleton.joint_names[j] for j in pair) for pair in skeleton.flip_pairs]
    assert found == pairs and len(set(skeleton.joint_names)) == 3
    if not pairs:
        assert skeleton.joint_names[0] in (names[0], "flügel_links")
    for example in dataset.as_numpy_iterator():
        assert (example["visibility"] == 2).all()


def test_two_sides_in_a_name_are_both_mirrored(tmp_path):
    names = [f"{eye}Eye{corner}Corner" for eye in ("Left", "Right") for corner in ("Left", "Right")]
    content = json.loads(kites.write(tmp_path, 2).read_text())
    for record in content["annotations"]:
        record["keypoints"] = record["keypoints"][:12]
    content["categories"] = [{"id": 3, "keypoints": names}]
    (tmp_path / "eyes.json").write_text(json.dumps(content))
    _, skeleton = load(tmp_path / "eyes.json")
    assert sorted(map(sorted, skeleton.flip_pairs)) == [[0, 3], [1, 2]]


def test_flip_pairs_can_be_given(labels):
    _, skeleton = load(labels, flip_pairs="knot 1:knot_2,Left Wing : tail")
    assert skeleton.flip_pairs == ((4, 5), (1, 3))


@pytest.mark.parametrize("pairs", ["nose", "nose:nose", "nose:tail,tail:knot 1", "a:b", "", ":"])
def test_wrong_flip_pairs_list_the_joints(labels, pairs):
    with pytest.raises(ValueError, match=r"--flip_pairs must be .*'A:B,C:D'.*nose, left_wing"):
        load(labels, flip_pairs=pairs)


def test_limbs_may_be_counted_from_0(labels):
    change(labels, skeleton=[[0, 1], [4, 5]])
    assert load(labels)[1].limbs == ((0, 1), (4, 5))


def test_pck_of_people_is_relative_to_the_torso(tmp_path):
    names = ["Right Hip", "neck", "shoulder_l"]
    _, skeleton = load(minimal(tmp_path, 3, id=3, keypoints=[*names[:2], "left shoulder"]))
    # Without their counterparts, "left" and "right" stay part of the name.
    assert skeleton.pck_reference is None
    names = ["Right Hip", "left hip", "shoulder_l", "shoulder_r"]
    path = minimal(tmp_path, 4, id=3, keypoints=names)
    _, skeleton = load(path)
    assert skeleton.pck_reference == (2, 0)
    # Annotations without any label do not count.
    content = json.loads(path.read_text())
    unlabelled = content["annotations"][0] | {"keypoints": [0] * 12}
    content["annotations"] += [unlabelled | {"id": 100 + i} for i in range(50)]
    path.write_text(json.dumps(content))
    assert load(path)[1].pck_reference == (2, 0)
    # Some tools write true for visible joints and false for occluded ones.
    flags = content["annotations"][0]["keypoints"]
    content["annotations"][0]["keypoints"] = [
        value if index % 3 < 2 else index < 6 for index, value in enumerate(flags)
    ]
    path.write_text(json.dumps(content))
    assert load(path)[1].pck_reference == (2, 0)
    # Without hips in the pictures, it is relative to the box.
    for record in content["annotations"]:
        record["keypoints"][2] = record["keypoints"][5] = 0
    path.write_text(json.dumps(content))
    _, skeleton = load(path)
    assert skeleton.pck_reference is None


@pytest.mark.parametrize("category,message", [
    ({"keypoints": ["a", "b", "a", "c", "d", "e"]}, "name twice"),
    ({"keypoints": "abcdef"}, "must be a list of names"),
    ({"keypoints": ["a", "", "c", "d", "e", "f"]}, "must be a list of names"),
    ({"skeleton": [[1, 7]]}, r"`skeleton` .* from 1 to 6, got \[\[1, 7\]\]"),
    ({"skeleton": [[0, 6]]}, "`skeleton`"),
    ({"skeleton": "1-2"}, "`skeleton`"),
])  # fmt: skip
def test_a_wrong_category_is_one_clear_error(labels, category, message):
    change(labels, **category)
    with pytest.raises(ValueError, match=message) as caught:
        load(labels)
    assert str(labels) in str(caught.value)


def test_categories_with_different_joints_are_refused(labels):
    content = json.loads(labels.read_text())
    content["categories"].append({"id": 4, "name": "hand", "keypoints": ["thumb"]})
    labels.write_text(json.dumps(content))
    load(labels)  # No annotation has this category.
    content["annotations"].append(
        {"id": 999, "image_id": 1, "category_id": 4, "keypoints": [1, 1, 2]}
    )
    labels.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="'kite' and 'hand' have different `keypoints`"):
        load(labels)


def test_changed_labels_are_prepared_again(labels, capfd):
    load(labels)
    capfd.readouterr()
    load(labels)
    assert "note:" not in capfd.readouterr().err
    content = json.loads(labels.read_text())
    # One joint less, and one of the others moved.
    content["categories"][0] = {**kites.CATEGORY, "keypoints": kites.JOINTS[:5], "skeleton": []}
    for record in content["annotations"]:
        record["keypoints"] = [50, 40, 2, *record["keypoints"][3:15]]
    labels.write_text(json.dumps(content))
    dataset, skeleton = load(labels)
    assert f"note: {labels} changed; prepared again." in capfd.readouterr().err
    assert skeleton.num_joints == 5
    for example in dataset.as_numpy_iterator():
        np.testing.assert_allclose(example["joints"][0] + example["person"]["origin"], [50, 40])
    labels.unlink()
    with pytest.raises(ValueError, match="no such file"):
        load(labels)


def test_the_command_says_and_draws_what_was_understood(labels, tmp_path, capsys):
    folder = ["--images", tmp_path / "pictures", "--prepared_dir", tmp_path / "prepared"]
    page = tmp_path / "page.png"
    arguments = ["keypoints", "--annotations", labels, *folder, "--output", page]
    assert outcome(command.main, *arguments)[0] == 0
    printed = capsys.readouterr().out
    assert "nose, left_wing, right_wing, tail, knot_1, knot_2" in printed
    assert "swapped in a mirrored picture: left_wing - right_wing\n" in printed
    assert "limbs: nose - left_wing, " in printed
    assert "PCK is relative to: the longer side of the person's box\n" in printed
    assert read_image(page).shape[0] > 224


@pytest.mark.parametrize("arguments,message", [
    ([], "needs the labels and the pictures: --annotations FILE.json --images FOLDER"),
    (["--annotations", "{labels}"], "needs the labels and the pictures"),
    (["--annotations", "nowhere.json", "--images", "{folder}"], "--annotations nowhere.json: no"),
    (["--annotations", "{labels}", "--images", "nowhere"], "--images nowhere: no such folder"),
    (["--annotations", "{labels}", "--images", "{folder}", "--validation", "v"], "--validation v:"),
    (["--validation", "{labels}", "--images", "{folder}"], "needs the labels and the pictures"),
])  # fmt: skip
def test_missing_files_are_one_clear_error(labels, tmp_path, arguments, message):
    places = {"labels": labels, "folder": tmp_path}
    arguments = [argument.format(**places) for argument in arguments]
    page = tmp_path / "page.png"
    assert message in refused(command.main, "keypoints", "--output", page, *arguments)


def test_one_picture_cannot_be_divided(tmp_path):
    with pytest.raises(ValueError, match="split 'train' of keypoints is empty"):
        load(kites.write(tmp_path, 1))


def test_boxes_follow_the_pictures_into_memory(labels):
    """A box keeps its place relative to the joints when pictures are letterboxed."""
    dataset, _ = load(labels)
    photographs = in_memory.read_photographs(dataset, 64, "reading")
    examples = list(dataset.as_numpy_iterator())
    for example, box, joints in zip(examples, photographs.boxes, photographs.joints, strict=True):
        margin = np.abs(example["joints"] - np.tile(example["person"]["box"], 3).reshape(6, 2))
        scale = 64 / max(example["image"].shape[:2])
        found = np.abs(joints - np.tile(box, 3).reshape(6, 2))
        np.testing.assert_allclose(found, margin * scale, rtol=0.05, atol=0.5)


def test_training_refuses_the_files_without_the_data_set(labels, tmp_path):
    arguments = ["--run", tmp_path / "run", "--annotations", labels]
    assert "are for --dataset keypoints" in refused(train.main, *arguments)
    assert "needs the labels" in refused(train.main, *arguments, "--dataset", "lsp+keypoints")
    arguments = ["--run", tmp_path / "run", "--validation", labels, "--images", tmp_path]
    assert "needs the labels" in refused(train.main, *arguments, "--dataset", "keypoints")


def test_boxes_of_joints_without_a_margin_count_as_missing(labels):
    """The crop of a thin thing would otherwise depend on its direction."""
    expected = boxes_by_person(labels)
    content = json.loads(labels.read_text())
    for record in content["annotations"]:
        joints = np.reshape(record["keypoints"], (6, 3))[:, :2]
        low, high = joints.min(axis=0), joints.max(axis=0)
        record["bbox"] = [*np.round(low).tolist(), *np.round(high - low).tolist()]
    labels.write_text(json.dumps(content))
    for person, box in boxes_by_person(labels).items():
        np.testing.assert_allclose(box, expected[person])


@pytest.mark.parametrize("bbox", [None, [0, 0, 0, 0]])
def test_one_joint_without_a_box(tmp_path, bbox):
    path = minimal(tmp_path, 1)
    content = json.loads(path.read_text())
    for record in content["annotations"]:
        record["bbox"] = bbox
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="too close together to derive a box"):
        load(path)  # Some pictures show several.
    first = {record["image_id"]: record for record in content["annotations"]}
    content["annotations"] = list(first.values())
    path.write_text(json.dumps(content))
    for example in load(path)[0].as_numpy_iterator():
        np.testing.assert_array_equal(example["person"]["box"], [0, 0, *kites.SIZE])


@pytest.mark.parametrize("spelling", [
    "{}",
    "images/val/{}",
    "C:\\labels\\{}",
    "http://localhost:8080/data/local-files/?d=some%20pictures/{}",
    "/data/local-files/?d=some%20pictures/{}",
    "/data/upload/1/{}",
])  # fmt: skip
def test_pictures_are_found_in_subfolders(labels, spelling):
    content = json.loads(labels.read_text())
    pictures = labels.parent / "pictures"
    for index, record in enumerate(content["images"]):
        folder = pictures / f"part {index % 2}" / "inner"
        folder.mkdir(parents=True, exist_ok=True)
        name = record["file_name"]
        (pictures / name).rename(folder / f"a {name}")
        record["file_name"] = spelling.format(
            f"a%20{name}" if "/data/" in spelling else f"a {name}"
        )
    labels.write_text(json.dumps(content))
    assert len(ids(load(labels, "train+validation")[0])) == len(content["annotations"])


def test_pictures_below_hidden_folders_do_not_count(labels):
    content = json.loads(labels.read_text())
    pictures = labels.parent / "pictures"
    for folder in ("sub", "sub/.thumbs"):
        (pictures / folder).mkdir()
    for record in content["images"]:
        name = record["file_name"]
        (pictures / "sub" / ".thumbs" / name).write_bytes(b"a thumbnail")
        record["file_name"] = f"{name.partition('.')[0]}.jfif"
        with Image.open(pictures / name) as picture:
            picture.convert("RGB").save(pictures / "sub" / record["file_name"], "jpeg")
        (pictures / name).unlink()
    labels.write_text(json.dumps(content))
    assert len(ids(load(labels, "train+validation")[0])) == len(content["annotations"])


def test_two_pictures_of_one_name_are_not_mistaken(labels):
    pictures = labels.parent / "pictures"
    name = json.loads(labels.read_text())["images"][0]["file_name"]
    for folder in ("a", "b"):
        (pictures / folder).mkdir()
        (pictures / folder / name).write_bytes((pictures / name).read_bytes())
    (pictures / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing"):
        load(labels, "train+validation")
