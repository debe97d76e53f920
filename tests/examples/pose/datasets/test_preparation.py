"""Tests of preparing records: broken pictures, unusual layouts, single splits, interruptions."""

import errno
import fcntl
import os
import pathlib
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from examples.pose import datasets
from examples.pose.datasets import __main__ as command
from examples.pose.datasets import official_files
from tests.examples.pose.datasets.small_copies import (
    add_system_files,
    first_picture,
    pictures_of,
    write_zip,
)

pytestmark = pytest.mark.usefixtures("no_network")


# Broken pictures


def _huge():
    """A PNG file whose header claims 3.6 billion pixels."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


_BROKEN = {
    "half": lambda content: content[: len(content) // 2],
    "no end": lambda content: content[:-200],
    "empty": lambda content: b"",
    "web page": lambda content: b"<!DOCTYPE html><html>404 Not Found</html>",
    "pointer": lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "huge": lambda content: _huge(),
}


# All kinds of damage in one data set, and two kinds in the others, which read pictures alike.
@pytest.mark.parametrize(
    ("name", "kind"),
    [("lsp", kind) for kind in _BROKEN]
    + [(name, kind) for name in ("mpii", "coco") for kind in ("half", "empty")],
)
def test_all_broken_pictures_are_named_or_left_out(copy, load, name, kind, capsys):
    folder = copy(name)
    whole = load(name)
    shutil.rmtree(folder.parents[1] / "prepared")
    first, second = sorted(pictures_of(folder).iterdir())[:2]
    first.write_bytes(_BROKEN[kind](first.read_bytes()))
    if name != "lsp":  # The other data sets have a second training picture to remove.
        second.unlink()
    with pytest.raises(ValueError, match=f"{first.name} is not a complete") as caught:
        load(name)
    assert name == "lsp" or f"{second.name} is missing" in str(caught.value)
    assert "--skip_broken" in str(caught.value) and type(caught.value) is ValueError
    capsys.readouterr()
    if name == "coco":  # No picture of `train` is left.
        with pytest.raises(ValueError, match="split 'train' of coco_keypoints is empty") as caught:
            load(name, skip_broken=True)
        assert "2 were left out" in str(caught.value) and first.name in str(caught.value)
        return
    kept = load(name, skip_broken=True)
    assert set(kept) < set(whole) and first.stem not in kept
    assert "was prepared without" in capsys.readouterr().err
    load(name)  # Reads the records, and repeats the note.
    assert first.name in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("lsp", k) for k in ("CMYK", "grey", "palette", "16 bits", "GIF", "BMP", "transparent")),
        *(("coco", k) for k in ("CMYK", "16 bits", "transparent")),
    ],
)
def test_pictures_of_every_kind_are_read(copy, load, name, kind):
    folder = copy(name)
    path = first_picture(folder)
    image = Image.open(path).convert("RGB")
    expected = np.asarray(image.convert("L")).astype(float)
    grey = np.asarray(image.convert("L")).astype(np.uint16) * 257
    save = {
        "CMYK": lambda: image.convert("CMYK").save(path, "JPEG", quality=95),
        "grey": lambda: image.convert("L").save(path, "JPEG", quality=95),
        "palette": lambda: image.quantize(256).save(path, "PNG"),
        "16 bits": lambda: Image.fromarray(grey).save(path, "PNG"),
        "GIF": lambda: image.save(path, "GIF", save_all=True, append_images=[image.rotate(90)]),
        "BMP": lambda: image.save(path, "BMP"),
        "transparent": lambda: image.convert("RGBA").save(path, "PNG"),
    }
    save[kind]()
    example = next(e for e in load(name).values() if e["id"].decode() == path.stem)
    assert example["image"].shape[-1] == 3
    if name == "lsp" and kind != "16 bits":
        found = example["image"].astype(float).mean(axis=-1)
        assert np.abs(found - expected).mean() < 20


# Unusual layouts


@pytest.mark.parametrize(
    ("name", "suffix", "flat"),
    [
        ("lsp", ".JPG", True),
        ("lsp", ".jpeg", False),
        ("lsp", ".png", True),
        ("lspet", ".JPEG", True),
        ("lspet", ".JPG", False),
        ("lspet", ".png", False),
    ],
)
def test_leeds_sports_with_other_suffixes_and_flat(copy, load, name, suffix, flat):
    folder = copy(name)
    expected = load(name)
    shutil.rmtree(folder.parents[1] / "prepared")
    for picture in sorted((folder / "images").iterdir()):
        place = folder if flat else folder / "images"
        if suffix == ".png":
            Image.open(picture).save(place / f"{picture.stem}.png")
            picture.unlink()
        else:
            picture.rename(place / f"{picture.stem}{suffix}")
    if flat:
        (folder / "images").rmdir()
    add_system_files(folder if flat else folder / "images")
    found = load(name)
    assert found.keys() == expected.keys()
    for key, example in found.items():
        np.testing.assert_array_equal(example["joints"], expected[key]["joints"])
        assert np.abs(example["image"].astype(int) - expected[key]["image"]).mean() < 3


@pytest.mark.parametrize("name,archive,prefix,inside", [
    ("lsp", "lsp_dataset_original.zip", "", True),
    ("lsp", "lsp_dataset.zip", "lsp_dataset/", False),
    ("lsp", "lsp.zip", "lsp/", True),
    ("lspet", "lspet_dataset.zip", "", False),
    ("lspet", "hr-lspet.zip", "hr-lspet/", True),
    ("lspet", "hr-lspet.zip", "hr-lspet/", False),
])  # fmt: skip
def test_archives_with_files_added_by_macos(copy, load, name, archive, prefix, inside):
    folder = copy(name)
    expected = load(name)
    shutil.rmtree(folder.parents[1] / "prepared")
    add_system_files(folder / "images")
    top = folder.parent / "top"
    (top / "__MACOSX" / prefix / "images").mkdir(parents=True)
    (top / "__MACOSX" / prefix / "._joints.mat").write_bytes(b"\0")
    (top / "__MACOSX" / prefix / "joints.mat").write_bytes(b"\0")
    (top / "__MACOSX" / prefix / "images" / "im0001.jpg").write_bytes(b"\0")
    shutil.copytree(folder, top / prefix, dirs_exist_ok=True)
    place = folder.parent
    shutil.rmtree(folder)
    if inside:
        place = place / name
        place.mkdir()
    write_zip(top, place / archive)
    shutil.rmtree(top)
    assert load(name).keys() == expected.keys()


def test_hr_lspet_has_gaps_in_its_numbers(copy, load):
    folder = copy("lspet")
    expected = load("lspet")
    shutil.rmtree(folder.parents[1] / "prepared")
    for number, picture in zip((2, 5, 9), sorted((folder / "images").iterdir()), strict=True):
        Image.open(picture).save(folder / f"im{number:05d}.png")
        picture.unlink()
    (folder / "images").rmdir()
    folder.rename(folder.with_name("hr-lspet"))
    found = load("lspet")
    assert sorted(found) == ["im00002", "im00005", "im00009"]
    for name, same in zip(sorted(found), sorted(expected), strict=True):
        np.testing.assert_array_equal(found[name]["joints"], expected[same]["joints"])


@pytest.mark.parametrize("name,split,others", [
    ("coco", "validation", ["train2017", "annotations/person_keypoints_train2017.json"]),
    ("coco", "validation", ["train2017"]),
    ("coco", "train", ["val2017"]),
    ("lsp", "test", ["images/im0001.jpg", "images/im0002.jpg"]),
    ("lsp", "train", ["images/im0003.jpg", "images/im0004.jpg"]),
    ("mpii", "validation", [f"images/{n:09d}.jpg" for n in (1, 2, 3, 4, 6)]),
    ("mpii", "test", [f"images/{n:09d}.jpg" for n in (1, 2, 3, 4, 5)]),
])  # fmt: skip
def test_a_split_needs_only_its_own_files(copy, load, name, split, others):
    folder = copy(name)
    expected = load(name, split)
    shutil.rmtree(folder.parents[1] / "prepared")
    away = folder.parents[1] / "away"
    for other in others:
        (away / other).parent.mkdir(parents=True, exist_ok=True)
        (folder / other).rename(away / other)
    assert load(name, split).keys() == expected.keys()
    other_split = {"train": "validation" if name == "coco" else "test"}.get(split, "train")
    with pytest.raises(FileNotFoundError):
        load(name, other_split)
    assert load(name, split).keys() == expected.keys()  # The old records are still there.
    if name == "coco":
        # Once the files of the other split are back, it is prepared too.
        for other in others:
            (away / other).rename(folder / other)
        assert load(name, other_split) and load(name, split).keys() == expected.keys()


def test_records_survive_a_split_that_cannot_be_prepared(copy, load, tmp_path):
    folder = copy("coco")
    shutil.rmtree(folder / "train2017")
    expected = load("coco", "validation")
    shutil.rmtree(folder / "val2017")
    with pytest.raises(FileNotFoundError, match="`train2017` was not found"):
        load("coco", "train")
    assert load("coco", "validation", data_dir=None).keys() == expected.keys()
    # The records also survive if a process that prepares them again is killed.
    records = tmp_path / "prepared" / "coco_keypoints" / "1.0.0"
    records.rename(records.with_name(".replaced-1.0.0"))
    assert load("coco", "validation", data_dir=None).keys() == expected.keys()


def _cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [_cut, pathlib.Path.unlink, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("name", ["lsp-train.tfrecord*", "dataset_info.json", "metadata.json"])
def test_damaged_records_give_a_one_line_error(copy, load, tmp_path, damage, name):
    copy("lsp")
    load("lsp")
    (file,) = (tmp_path / "prepared" / "lsp" / "1.0.0").glob(name)
    damage(file)
    try:
        assert len(load("lsp")) == 2  # They were prepared again.
    except ValueError as error:
        assert "are damaged" in str(error) and "\n" not in str(error)
        shutil.rmtree(str(error).partition("records in ")[2].partition(" are damaged")[0])
        assert len(load("lsp")) == 2


# Folders


@pytest.mark.parametrize("name", ["lsp", "coco_keypoints", "mpii", "stick_figures", "flic"])
def test_file_as_data_dir_raises(tmp_path, name, capsys):
    file = tmp_path / "lsp_dataset.zip"
    file.write_bytes(b"PK")
    with pytest.raises(ValueError, match="`data_dir` must be a folder, got the file") as caught:
        datasets.load(name, "train", file, tmp_path / "prepared")
    assert not (tmp_path / "prepared").exists() and "\n" not in str(caught.value)
    arguments = ["--data_dir", str(file), "--output", str(tmp_path / "a.png")]
    with pytest.raises(SystemExit):
        command.main([name, *arguments])
    assert "must be a folder" in capsys.readouterr().err


def test_unreadable_data_dir_raises(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(official_files.os, "scandir", refuse)
    with pytest.raises(ValueError, match="cannot be read: Permission denied"):
        datasets.load("lsp", "train", tmp_path, tmp_path / "prepared")


def test_file_as_prepared_dir_gives_a_one_line_error(copy, tmp_path):
    copy("lsp")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"lsp could not be prepared in .*file") as caught:
        datasets.load("lsp", "train", tmp_path / "data", tmp_path / "file")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["file", "/proc/nowhere"])
def test_error_names_an_unwritable_default_folder(copy, tmp_path, monkeypatch, place):
    """The default folder comes from TFDS_DATA_DIR or HOME."""
    copy("lsp")
    (tmp_path / "file").write_text("")
    place = str(tmp_path / place)
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", place)
    with pytest.raises(ValueError, match=f"lsp could not be prepared in {place}/lsp") as caught:
        datasets.load("lsp", "train", tmp_path / "data")
    assert "give another --prepared_dir" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_preparation_works_without_file_locks(copy, load, tmp_path, monkeypatch, number, capsys):
    def refuse(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    copy("lsp")
    of_another = tmp_path / "prepared" / "lsp" / "incomplete.1_1.0.0"
    of_another.mkdir(parents=True)
    assert len(load("lsp")) == 2
    assert os.strerror(number) in capsys.readouterr().err
    assert of_another.exists()  # Another process may still be writing it.


# Interruptions

_LOAD = (
    "import sys; from examples.pose import datasets as d;"
    "d.load('lsp', 'train', sys.argv[1], sys.argv[2])"
)


def test_killed_preparation_is_cleaned_up(copy, load, tmp_path):
    copy("lsp")
    slow = (
        "import time; from examples.pose.datasets import leeds_sports as l; read = l.read_picture;"
        "l.read_picture = lambda *a: (time.sleep(1), read(*a))[1];"
    )
    arguments = [str(tmp_path / "data"), str(tmp_path / "prepared")]
    process = subprocess.Popen([sys.executable, "-c", slow + _LOAD, *arguments])
    folder = tmp_path / "prepared" / "lsp"
    deadline = time.monotonic() + 300
    while not list(folder.glob("incomplete.*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(folder.glob("incomplete.*")) and not (folder / "1.0.0").exists()
    assert len(load("lsp")) == 2
    assert sorted(path.name for path in folder.iterdir()) == [".preparing", "1.0.0"]


def test_full_disk_gives_a_one_line_error(copy, load, tmp_path):
    folder = copy("lsp")
    code = (
        f"import resource; limit = resource.setrlimit; resource.setrlimit({resource.RLIMIT_FSIZE}, "
        "(1000, 1000));" + _LOAD.replace("d.load", "\ntry: d.load") + "\n"
        "except ValueError as error: print('REFUSED', error); sys.exit(3)"
    )
    arguments = [str(folder.parent), str(tmp_path / "prepared")]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("REFUSED"))
    assert "lsp could not be prepared" in line and "starts afresh" in line
    assert not list((tmp_path / "prepared" / "lsp").glob("*1.0.0*"))
    assert len(load("lsp")) == 2
