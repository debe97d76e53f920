"""Tests that commands do not overwrite their input, however its path is spelt."""

import argparse
import os
from pathlib import Path

import pytest

from benchmarks import export as benchmark
from examples.pose.cli import command_line
from examples.pose.datasets import __main__ as datasets_command
from examples.pose.files.atomic_write import atomic_write
from examples.pose.files.output_paths import (
    OutputPathError,
    check_not_inside,
    check_outputs,
    same_file,
)
from tests.examples.commands import refused


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"photograph")
    (tmp_path / "sub").mkdir()
    os.symlink("a.jpg", "link.jpg")
    os.symlink("sub", "linked")
    os.symlink("missing.jpg", "broken.jpg")
    os.link("a.jpg", "hard.jpg")
    return tmp_path


def spellings(folder):
    """Paths that all name a.jpg."""
    return [
        "a.jpg",
        "./a.jpg",
        "sub/../a.jpg",
        str(folder / "a.jpg"),
        "link.jpg",
        "hard.jpg",
        ".//a.jpg",
        f"../{folder.name}/a.jpg",
    ]


def test_all_spellings_of_a_path_are_the_same_file(folder):
    for spelling in spellings(folder):
        assert same_file("a.jpg", spelling), spelling
        with pytest.raises(OutputPathError, match=r"--output .* would overwrite the input") as e:
            check_outputs([("--output", spelling)], ["sub/b.jpg", "a.jpg"])
        assert "\n" not in str(e.value)
    for other in ("b.jpg", "sub/a.jpg", "a.png", "broken.jpg", "new/a.jpg"):
        assert not same_file("a.jpg", other), other
    check_outputs([("--output", "b.jpg"), ("--json", "c.json")], ["a.jpg", "sub/b.jpg"])


def test_same_file_for_files_that_do_not_exist_yet(folder):
    for a, b in [
        ("new.json", "./sub/../new.json"),
        ("new.json", "NEW.json"),  # The same on the file systems of macOS and Windows.
        ("caf\u00e9.json", "cafe\u0301.json"),
        ("sub/new.json", "linked/new.json"),
        ("broken.jpg", "missing.jpg"),
        ("new/folder/x.json", "new/./folder/x.json"),
    ]:
        assert same_file(a, b), (a, b)
        with pytest.raises(OutputPathError, match="are the same file"):
            check_outputs([("--output", a), ("--json", b)], [])
    assert not same_file("new.json", "sub/new.json")


@pytest.mark.parametrize("name", ["pipe", "device"])
def test_pipes_and_devices_are_not_replaced(folder, name):
    """A rename would replace /dev/null itself, and reading an old JSON would block on a pipe."""
    if name == "pipe":
        os.mkfifo(name)
    else:
        os.symlink("/dev/null", name)
    with pytest.raises(OutputPathError, match=f"--json {name} exists and is not a regular file"):
        check_outputs([("--json", name)], [])
    with pytest.raises(argparse.ArgumentTypeError, match="must be a regular file"):
        command_line.new_file(name)
    with pytest.raises(FileExistsError), atomic_write(Path(name)) as temporary:
        temporary.touch()
    assert sorted(os.listdir()) == sorted(
        ["a.jpg", "broken.jpg", "hard.jpg", "link.jpg", "linked", name, "sub"]
    )


def test_existing_files_in_an_input_folder_are_not_replaced(folder):
    (folder / "sub" / "x.png").touch()
    for output in ("sub/x.png", "linked/x.png", "sub/../sub/x.png"):
        for read in ("sub", "linked", ".", str(folder)):
            with pytest.raises(OutputPathError, match="which is read"):
                check_not_inside("--output", output, read)
    check_not_inside("--output", "sub/new.png", "sub")
    check_not_inside("--output", "a.jpg", "sub")
    check_not_inside("--output", "sub/x.png", None)


def test_data_set_page_does_not_replace_a_picture(folder):
    (folder / "sub" / "im0001.jpg").write_bytes(b"photograph")
    arguments = ["lsp", "--data_dir", ".", "--output", "sub/im0001.jpg"]
    assert "which is read" in refused(datasets_command.main, *arguments)
    assert (folder / "sub" / "im0001.jpg").read_bytes() == b"photograph"


def test_export_benchmark_does_not_replace_its_run(folder):
    (folder / "sub" / "config.json").write_text("{}")
    message = refused(benchmark.main, "--run", "sub", "--output", "./linked/config.json")
    assert "would overwrite the input" in message
    assert (folder / "sub" / "config.json").read_text() == "{}"
