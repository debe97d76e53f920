"""The soak test's verdict, table and command line."""

import re
import signal

import pytest

from examples.pose.cli import interruption
from examples.serving import soak
from tests.examples.commands import outcome, refused

REPORT = {
    "seconds": 60.2,
    "threads": 8,
    "requests": 1234,
    "answered": 1000,
    "refused": 234,
    "wrongly_answered": 0,
    "wrongly_refused": 0,
    "largest_difference": 1e-7,
    "answer_ms": [10, 20],
    "refusal_ms": [1, 2],
    "memory_mib": [500, *[600] * 20],
    "problems": [],
}


def test_wrong_answers_wrong_refusals_and_growing_memory_fail():
    assert soak.passed(REPORT)
    assert not soak.passed(REPORT | {"wrongly_answered": 1})
    assert not soak.passed(REPORT | {"wrongly_refused": 1})
    assert not soak.passed(REPORT | {"memory_mib": [500, *range(600, 700, 5)]})


def test_the_table_shows_counts_latencies_and_memory():
    table = soak.table(REPORT)
    for row in ("| requests | 1,234 |", "p50 / p99 ms | 10 / 20 |", "at the end, MiB | 600 |"):
        assert row in table


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_the_command_runs_a_short_soak(programs, run_folder, capsys, monkeypatch):
    monkeypatch.setattr(soak.native_loader, "build", lambda folder, apis: programs)
    monkeypatch.setattr(soak, "SIZES", ((64, 48), (1, 1), (20, 70)))
    soak.main(["--run", str(run_folder), "--minutes", "0.03", "--threads", "2"])
    assert "| valid requests refused (unexpected errors) | 0 |" in capsys.readouterr().out
    assert "nowhere" in refused(soak.main, "--run", "nowhere")


@pytest.mark.parametrize(
    ("option", "value"),
    [("--minutes", "0"), ("--minutes", "nan"), ("--threads", "0"), ("--count", "-1")],
)
def test_bad_arguments_are_refused(capsys, option, value):
    with pytest.raises(SystemExit) as raised:
        soak.main(["--run", "nowhere", option, value])
    assert raised.value.code == 2 and re.search(
        "must be (more than 0|at least 1)", capsys.readouterr().err
    )


def test_ctrl_c_gives_a_one_line_error(monkeypatch):
    def stopped(run, **_):
        raise interruption.Stopped(signal.SIGINT)

    monkeypatch.setattr("examples.pose.inference.predictor.load_run", stopped)
    status, message = outcome(soak.main, "--run", "nowhere")
    assert status == 130 and message.startswith("stopped. Nothing was measured")


@pytest.mark.parametrize(
    ("photos", "words"),
    [("nowhere", "nowhere"), ("file", "file"), (".", "photos . contains no JPEG")],
)
def test_a_folder_without_photos_is_refused(tmp_path, monkeypatch, photos, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert words in refused(soak.main, "--run", "nowhere", "--photos", photos)
