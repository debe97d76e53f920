"""`benchmarks.operator`: measures, files and plots."""

import csv
import json

import pytest

from benchmarks import operator, plots, results
from benchmarks.cases import FORWARD, PASSES
from benchmarks.measure import keys_of
from benchmarks.suites import SUITES
from tests.benchmarks.small_cases import TINY_SUITE


@pytest.mark.long
def test_measurements_are_written_as_json_csv_and_a_plot(tmp_path, monkeypatch):
    monkeypatch.setitem(operator.SUITES, "sizes", TINY_SUITE)
    folder = tmp_path / "new" / "folder"
    operator.main(["--rounds", "2", "--threads", "1", "--output", str(folder)])

    content = json.loads((folder / "results.json").read_text())
    assert content["machine"]["Python"]
    assert [run["pass"] for run in content["runs"]] == list(PASSES)
    candidates = TINY_SUITE.entries[0].candidates
    for run in content["runs"]:
        assert run["suite"] == "sizes" and run["threads"] == 1
        found = [(result["operator"], result["size"]) for result in run["results"]]
        assert found == [(c.operator, c.size) for c in candidates]
        assert all(len(r["samples"]) == 2 and min(r["samples"]) > 0 for r in run["results"])

    with (folder / "results.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(PASSES) * len(candidates)
    for line in lines:
        assert float(line["milliseconds_low"]) <= float(line["milliseconds_high"])
        assert line["batch"] == "2" and line["dtype"] == "float32"

    assert (folder / "sizes_threads1.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_can_be_drawn(name, tmp_path):
    suite = SUITES[name]
    keys, skipped = keys_of(suite.entries, FORWARD)
    run = results.Run(name, 1, FORWARD, {key: [1e-3, 2e-3] for key in keys}, skipped)
    plots.draw(suite, [run, run], tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_an_unknown_suite_is_refused(capsys):
    with pytest.raises(SystemExit):
        operator.main(["--suite", "nonsense"])
    assert "nonsense" in capsys.readouterr().err
