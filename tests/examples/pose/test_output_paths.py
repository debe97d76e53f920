import os

import pytest

from benchmarks import export as benchmark
from examples.pose.datasets import __main__ as datasets_command
from examples.pose.output_paths import (
    OutputPathError,
    check_not_inside,
    check_outputs,
    same_file,
)


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
    """Ways to write a.jpg."""
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


def test_every_spelling_is_the_same_file(folder):
    for spelling in spellings(folder):
        assert same_file("a.jpg", spelling), spelling
        with pytest.raises(OutputPathError, match=r"--output .* would overwrite the input") as e:
            check_outputs([("--output", spelling)], ["sub/b.jpg", "a.jpg"])
        assert "\n" not in str(e.value)
    for other in ("b.jpg", "sub/a.jpg", "a.png", "broken.jpg", "new/a.jpg"):
        assert not same_file("a.jpg", other), other
    check_outputs([("--output", "b.jpg"), ("--json", "c.json")], ["a.jpg", "sub/b.jpg"])


def test_files_that_do_not_exist_yet(folder):
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


def test_files_in_a_folder_that_is_read(folder):
    (folder / "sub" / "x.png").touch()
    for output in ("sub/x.png", "linked/x.png", "sub/../sub/x.png"):
        for read in ("sub", "linked", ".", str(folder)):
            with pytest.raises(OutputPathError, match="which is read"):
                check_not_inside("--output", output, read)
    check_not_inside("--output", "sub/new.png", "sub")
    check_not_inside("--output", "a.jpg", "sub")
    check_not_inside("--output", "sub/x.png", None)


def test_a_page_of_a_data_set_does_not_replace_its_pictures(folder, capsys):
    (folder / "sub" / "im0001.jpg").write_bytes(b"photograph")
    arguments = ["lsp", "--data_dir", ".", "--output", "sub/im0001.jpg"]
    assert datasets_command.main(arguments) == 1
    assert "which is read" in capsys.readouterr().err
    assert (folder / "sub" / "im0001.jpg").read_bytes() == b"photograph"


def test_a_benchmark_does_not_replace_its_run(folder, capsys):
    (folder / "sub" / "config.json").write_text("{}")
    with pytest.raises(SystemExit):
        benchmark.main(["--run", "sub", "--output", "./linked/config.json"])
    assert "would overwrite the input" in capsys.readouterr().err
    assert (folder / "sub" / "config.json").read_text() == "{}"
