"""How `make gpu-check` reports the results of compute-sanitizer, here replaced by a script."""

import pytest

from benchmarks.gpu import __main__ as gpu_check


@pytest.mark.parametrize(
    ("racecheck", "verdict"),
    [
        ("exit 0", "clean"),
        ("exit 9", "ERRORS"),
        ("exit 1", "NOT run"),  # the tests failed, or the tool itself
        ("sleep 60", "NOT run"),
    ],
)
def test_verdict_on_the_tools(monkeypatch, tmp_path, capsys, racecheck, verdict):
    sanitizer = tmp_path / "compute-sanitizer"
    sanitizer.write_text(f"#!/bin/sh\necho $2 said so\n[ $2 != racecheck ] || {racecheck}\n")
    sanitizer.chmod(0o755)
    monkeypatch.setattr(gpu_check, "find_sanitizer", lambda: str(sanitizer))
    monkeypatch.setattr(gpu_check, "TOOLS_SECONDS", 2)
    assert gpu_check.sanitize() == verdict
    printed = capsys.readouterr().out
    assert "memcheck: clean" in printed and f"racecheck: {verdict}" in printed
    assert ("racecheck said so" in printed) == racecheck.startswith("exit") * (verdict != "clean")


def test_a_missing_sanitizer_is_not_clean(monkeypatch):
    monkeypatch.setattr(gpu_check, "find_sanitizer", lambda: None)
    assert gpu_check.sanitize() == "NOT run"
