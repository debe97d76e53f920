"""Progress where standard error is not a terminal: sparse lines, and nothing for short work."""

import pytest

from examples.pose.cli import progress


@pytest.mark.parametrize("total", [None, 3])
def test_lines_tell_how_much_is_done(total, monkeypatch, capsys):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    assert list(progress.track(iter("abc"), "reading", total)) == ["a", "b", "c"]
    of_total = " of 3" if total else ""
    lines = [f"reading: {done}{of_total} done" for done in range(3)]
    assert capsys.readouterr() == ("", "\n".join(lines) + "\n")


def test_the_length_is_the_total(monkeypatch, capsys):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    list(progress.track([1, 2], "reading"))
    assert "reading: 1 of 2 done" in capsys.readouterr().err


def test_short_work_is_silent(capsys):
    assert list(progress.track(range(3), "reading")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")
