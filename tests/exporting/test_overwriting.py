"""`overwrite=True` replaces an earlier export of the same kind, entirely or not at all.

Anything else at the path is kept and the export is refused.
"""

import errno
import os
import resource
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

import tf_boxconv
from tests import tolerances
from tests.exporting.runtimes import skip_unless_installed
from tests.seeds import seed_weights
from tf_boxconv.exporting import FORMATS, output, saved_model

every_format = pytest.mark.parametrize("format", FORMATS)
FOLDERS = [name for name, format in FORMATS.items() if format.suffix is None]
FILES = [name for name, format in FORMATS.items() if format.suffix is not None]


def model(filters=2):
    seed_weights(filters)
    inputs = keras.Input((6, 6, 2), name="image")
    return keras.Model(inputs, tf_boxconv.layers.BoxConv2D(filters)(inputs))


@pytest.fixture(scope="module")
def built():
    return model()


def path_of(folder, format):
    skip_unless_installed(format)
    return folder / f"model{FORMATS[format].suffix or ''}"


@pytest.fixture(scope="module")
def copy_earlier_export(built, tmp_path_factory):
    """A function that copies an export into a folder. Each format is exported only once."""
    exports = {}

    def copy(folder, format):
        target = path_of(folder, format)
        if format not in exports:
            exports[format] = path_of(tmp_path_factory.mktemp(format), format)
            tf_boxconv.export(built, exports[format], format)
        (shutil.copytree if exports[format].is_dir() else shutil.copy)(exports[format], target)
        return target

    return copy


def contents(path):
    """Returns everything below a path: bytes of files, targets of links, None for folders."""
    found = {}
    for entry in [path, *path.rglob("*")]:
        name = str(entry.relative_to(path))
        if entry.is_symlink():
            found[name] = os.readlink(entry)
        else:
            found[name] = entry.read_bytes() if entry.is_file() else None
    return found


def assert_refused(built, path, format, folder, match):
    """Exports to `path`, which must fail and change nothing in `folder`."""
    before = contents(folder)
    with pytest.raises(FileExistsError, match=match) as raised:
        tf_boxconv.export(built, path, format, overwrite=True)
    assert "\n" not in str(raised.value)
    assert contents(folder) == before


@every_format
def test_an_earlier_export_is_replaced(built, copy_earlier_export, tmp_path, format):
    path = copy_earlier_export(tmp_path, format)
    before = contents(path)
    with pytest.raises(FileExistsError, match="`path` exists; overwrite=True"):
        tf_boxconv.export(built, path, format)
    assert contents(path) == before
    tf_boxconv.export(model(3), path, format, overwrite=True)
    assert contents(path) != before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    # The export that replaced another can be replaced in turn.
    tf_boxconv.export(built, str(path) + "/", format, overwrite=True)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("format", FOLDERS)
def test_files_added_to_an_earlier_export_are_kept(built, copy_earlier_export, tmp_path, format):
    path = copy_earlier_export(tmp_path, format)
    for place, make in [
        ("notes.txt", Path.touch),
        ("assets/vocabulary.txt", Path.touch),
        ("variables/notes", Path.touch),
        ("empty", Path.mkdir),
        ("link", lambda link: link.symlink_to(tmp_path)),
    ]:
        added = path / place
        new_parent = not added.parent.exists()
        added.parent.mkdir(exist_ok=True)
        make(added)
        assert_refused(
            built, path, format, tmp_path, f"other files, which would be lost: '{place}'"
        )
        added.rmdir() if added.is_dir() and not added.is_symlink() else added.unlink()
        if new_parent:
            added.parent.rmdir()
    tf_boxconv.export(built, path, format, overwrite=True)


@pytest.mark.parametrize("format", FOLDERS)
def test_folders_of_other_files_are_kept(built, tmp_path, format, monkeypatch):
    path = path_of(tmp_path, format)
    path.mkdir()
    foreign = {
        "photograph.jpg": b"jpeg",
        "model.json": b'{"format": "graph-model", "convertedBy": "TensorFlow.js Converter"}',
        "model.xml": b"<net/>",
        "saved_model.pb": b"",
    }
    for name, content in foreign.items():
        (path / name).write_bytes(content)
        assert_refused(
            built, path, format, tmp_path, "exists and is not a.*written by tf_boxconv.export"
        )
    monkeypatch.chdir(path)
    (path / "below").mkdir()
    for spelling in (".", "", "..", "../model/", path / "below" / "..", "/"):
        assert_refused(built, spelling, format, tmp_path, "is the current folder or one above it")


@pytest.mark.parametrize("format", FILES)
@pytest.mark.parametrize(
    "content", [b"notes", b"", b"\x1c\0\0\0TFL3", b"\x08\x09\x12\x00", b"\xff"]
)
def test_other_files_are_kept(built, tmp_path, format, content):
    path = path_of(tmp_path, format)
    path.write_bytes(content)
    assert_refused(
        built, path, format, tmp_path, "exists and is not a.*written by tf_boxconv.export"
    )


def test_an_onnx_file_of_another_writer_is_kept(built, tmp_path):
    onnx = pytest.importorskip("onnx")
    tf_boxconv.export(built, tmp_path / "model.onnx")
    proto = onnx.load(tmp_path / "model.onnx")
    del proto.metadata_props[:]
    onnx.save(proto, tmp_path / "model.onnx")
    assert_refused(
        built, tmp_path / "model.onnx", "onnx", tmp_path, "is not an ONNX file written by"
    )


def test_a_saved_model_of_another_writer_is_kept(built, tmp_path):
    built.export(tmp_path / "model", verbose=False)
    assert_refused(
        built, tmp_path / "model", "saved_model", tmp_path, "is not a SavedModel written by"
    )


def test_exports_in_other_formats_are_kept(built, tmp_path):
    tf_boxconv.export(built, tmp_path / "tfjs", "tfjs")
    tf_boxconv.export(built, tmp_path / "saved_model", "saved_model_portable")
    assert_refused(built, tmp_path / "tfjs", "saved_model", tmp_path, "is not a SavedModel")
    assert_refused(
        built, tmp_path / "saved_model", "tfjs", tmp_path, "is not a TensorFlow.js model"
    )
    # Both are SavedModels.
    tf_boxconv.export(built, tmp_path / "saved_model", "saved_model", overwrite=True)


def test_symbolic_links_are_followed(built, tmp_path):
    (tmp_path / "latest").symlink_to(tmp_path / "v1")
    assert_refused(
        built, tmp_path / "latest", "tfjs", tmp_path, "is a symbolic link to .*not exist"
    )
    tf_boxconv.export(built, tmp_path / "v1", "tfjs")
    tf_boxconv.export(model(3), tmp_path / "latest", "tfjs", overwrite=True)
    assert (tmp_path / "latest").is_symlink()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["latest", "v1"]
    (tmp_path / "file.tflite").write_text("notes")
    (tmp_path / "link.tflite").symlink_to(tmp_path / "file.tflite")
    assert_refused(built, tmp_path / "link.tflite", "litert", tmp_path, "is not a LiteRT file")


def test_mount_points_and_special_files_are_refused(built, tmp_path):
    with pytest.raises(FileExistsError, match="is a mount point"):
        tf_boxconv.export(built, "/proc", overwrite=True)
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(FileExistsError, match="is not an ONNX file"):
        tf_boxconv.export(built, tmp_path / "pipe.onnx", overwrite=True)


@every_format
def test_a_full_disk_leaves_the_earlier_export(copy_earlier_export, tmp_path, format):
    """A limit on the size of files simulates a full disk. Each format has code of its own."""
    path = copy_earlier_export(tmp_path, format)
    before = contents(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for size in (0, 700):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            with pytest.raises(OSError, match=r"cannot be written: File too large. Noth") as raised:
                tf_boxconv.export(model(3), path, format, overwrite=True)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert raised.value.errno == errno.EFBIG and "\n" not in str(raised.value)
        assert contents(tmp_path) == before


@every_format
def test_an_interrupted_export_changes_nothing(copy_earlier_export, tmp_path, format, monkeypatch):
    """The interruption comes after the SavedModel was written that all formats start from."""
    path = copy_earlier_export(tmp_path, format)
    before = contents(tmp_path)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(saved_model, "_write_description", interrupt)
    for target, overwrite in [(path, True), (tmp_path / "new" / "folder" / path.name, False)]:
        with pytest.raises(KeyboardInterrupt):
            tf_boxconv.export(model(3), target, format, overwrite=overwrite)
        assert contents(tmp_path) == before


@pytest.mark.parametrize("exchange", [True, False])
def test_a_file_that_appears_during_the_export_is_kept(tmp_path, exchange, monkeypatch):
    if not exchange:
        monkeypatch.setattr(output, "_exchange", lambda *_: False)
    kind = output.Kind("a thing", lambda folder: {"own"})
    path = tmp_path / "thing"
    path.mkdir()
    (path / "own").write_text("old")

    def write():
        with output.atomic(path, lambda: output.resolved_destination(path, kind, True)) as written:
            written.mkdir()
            (written / "own").write_text("new")
            return written

    write()
    assert contents(tmp_path) == {".": None, "thing": None, "thing/own": b"new"}
    with (
        pytest.raises(FileExistsError, match="would be lost: 'mine'"),
        output.atomic(path, lambda: output.resolved_destination(path, kind, True)) as written,
    ):
        written.mkdir()
        (path / "mine").touch()
    assert contents(tmp_path) == {".": None, "thing": None, "thing/own": b"new", "thing/mine": b""}


def test_the_old_output_is_restored_if_the_new_one_cannot_be_renamed(tmp_path, monkeypatch):
    monkeypatch.setattr(output, "_exchange", lambda *_: False)
    path = tmp_path / "thing"
    path.mkdir()
    (path / "own").touch()
    rename = Path.rename

    def fail(self, target):
        if (self / "new").exists():
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(KeyboardInterrupt), output.atomic(path) as written:
        written.mkdir()
        (written / "new").touch()
    assert contents(tmp_path) == {".": None, "thing": None, "thing/own": b""}


def test_a_folder_that_cannot_be_created_is_an_error(built, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match=r"cannot be written: .*directory.*Nothing was changed"):
        tf_boxconv.export(built, tmp_path / "file" / "exported")
    with pytest.raises(OSError, match="cannot be written: File name too long"):
        tf_boxconv.export(built, tmp_path / "new" / ("x" * 300) / "exported")
    assert contents(tmp_path) == {".": None, "file": b"mine"}


def test_the_replaced_export_gives_the_values_of_the_new_model(tmp_path):
    path = tmp_path / "model"
    for filters in (2, 3):
        tf_boxconv.export(model(filters), path, "saved_model_portable", overwrite=True)
    keras_layer = keras.layers.TFSMLayer(path, call_endpoint="serve")
    x = np.ones((1, 6, 6, 2), np.float32)
    np.testing.assert_allclose(keras_layer(x), model(3)(x), **tolerances.VALUES["float32"])
