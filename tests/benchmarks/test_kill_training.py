"""`benchmarks.kill_training`: trainings that are killed end like undisturbed ones."""

import pytest

from benchmarks import kill_training


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_a_killed_training_ends_as_an_undisturbed_one(capsys):
    assert kill_training.main(["--kills", "5", "--seed", "1"]) == 0
    printed = capsys.readouterr().out
    assert "killed 5 times" in printed and "0 arrays differ" in printed


def test_the_seed_decides_when_to_kill_and_half_of_the_kills_are_within_saves():
    moments = kill_training.draw_moments(40, 3, 10.0, 0.5)
    assert moments == kill_training.draw_moments(40, 3, 10.0, 0.5)
    assert moments != kill_training.draw_moments(40, 4, 10.0, 0.5)
    assert [moment.file is not None for moment in moments] == [True, False] * 20
    assert {moment.file for moment in moments} == {None, *kill_training.SAVED_FILES}
    assert any(moment.epochs == 0 for moment in moments)


def test_a_training_that_fails_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(kill_training, "TRAINING", ["--image_size", "97"])
    with pytest.raises(RuntimeError, match="multiple of 16, got 97"):
        kill_training.Training(tmp_path / "run", 2).finish()
