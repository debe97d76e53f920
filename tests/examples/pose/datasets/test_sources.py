"""Loading a data set raises if its official files changed after records were prepared from them.

The official files are those that users download from the authors of the data set.
"""

import json
import os
import shutil

import pytest
import scipy.io

from tests.examples.pose.datasets.small_copies import (
    LABELS,
    add_system_files,
    first_picture,
    pictures_of,
    write_zip,
)

pytestmark = pytest.mark.usefixtures("no_network")


def _edit_labels(path):
    if path.suffix == ".json":
        content = json.loads(path.read_text())
        content["annotations"][0]["keypoints"][0] += 1
        path.write_text(json.dumps(content))
    else:
        content = scipy.io.loadmat(path)
        content["another"] = 1.0
        scipy.io.savemat(path, {k: v for k, v in content.items() if not k.startswith("__")})


def _edit_picture(path):
    """Changes a picture's content but not its size in bytes."""
    path.write_bytes(path.read_bytes()[:-2] + b"\xff\xd9")


_CHANGES = {
    "labels edited": lambda folder, labels: _edit_labels(labels),
    "labels removed": lambda folder, labels: labels.unlink(),
    "picture removed": lambda folder, labels: first_picture(folder).unlink(),
    "picture added": lambda folder, labels: shutil.copy(
        first_picture(folder), pictures_of(folder) / "new.jpg"
    ),
    "picture replaced": lambda folder, labels: first_picture(folder).write_bytes(
        sorted(pictures_of(folder).iterdir())[1].read_bytes()
    ),
    "picture edited": lambda folder, labels: _edit_picture(first_picture(folder)),
}


@pytest.mark.parametrize("name", ["lsp", "lspet", "mpii", "coco"])
@pytest.mark.parametrize("change", _CHANGES)
def test_changed_files_raise(copy, load, name, change, tmp_path):
    folder = copy(name)
    before = load(name)
    assert load(name).keys() == before.keys()
    _CHANGES[change](folder, folder / LABELS[name])
    with pytest.raises(ValueError, match="have changed since they were prepared") as caught:
        load(name)
    message = str(caught.value)
    assert "\n" not in message
    # The message says to delete this folder. After that, `load` prepares the data set again.
    prepared = message.partition("Delete the folder ")[2].partition(" to prepare")[0]
    shutil.rmtree(prepared)
    if change == "labels removed":
        with pytest.raises(FileNotFoundError):
            load(name)
    elif change in ("labels edited", "picture edited"):
        assert load(name)


@pytest.mark.parametrize("name", ["lsp", "mpii", "coco"])
def test_irrelevant_changes_are_ignored(copy, load, name, tmp_path):
    folder = copy(name)
    before = load(name)
    add_system_files(pictures_of(folder))
    os.utime(folder / LABELS[name], (1, 1))
    assert load(name).keys() == before.keys()
    # The same files in another folder, with other modification times. For lsp also as a zip file.
    moved = tmp_path / "elsewhere"
    shutil.copytree(folder, moved / name, copy_function=shutil.copyfile)
    assert load(name, data_dir=moved).keys() == before.keys()
    if name == "lsp":
        write_zip(moved / name, moved / "lsp_dataset.zip", "lsp_dataset/")
        shutil.rmtree(moved / name)
        assert load(name, data_dir=moved).keys() == before.keys()
    # If labels and pictures are both gone, the prepared records suffice.
    shutil.rmtree(folder)
    for data_dir in (tmp_path / "data", tmp_path / "gone", None):
        assert load(name, data_dir=data_dir).keys() == before.keys()


def test_records_without_fingerprints_are_read(copy, load, tmp_path):
    copy("lsp")
    load("lsp")
    metadata = tmp_path / "prepared" / "lsp" / "1.0.0" / "metadata.json"
    content = json.loads(metadata.read_text())
    # Earlier versions of the builder did not store these keys.
    del content["sources"], content["left_out"]
    metadata.write_text(json.dumps(content))
    assert load("lsp")
