"""Tests of `ablation`: the settings of its studies, runs, tables and errors."""

import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from examples.pose import ablation, models
from examples.pose.cli.errors import UserError
from examples.pose.evaluation import study_results
from examples.pose.files.atomic_write import write_json
from examples.pose.training import configuration, parallel_runs, studies, training_arguments
from examples.pose.training.curves import CurveWriter
from examples.pose.training.run_folder import RunFolder, RunFolderError
from examples.pose.training.studies import Run, Setting
from tests.examples.pose import children
from tests.examples.pose.tiny_run import write_tiny_run

COMMON = [
    *("--epochs", "1", "--steps_per_epoch", "2", "--batch_size", "2"),
    *("--model", "light", "--image_size", "16", "--width", "4", "--depth", "2"),
]
TRAINING_OPTIONS = {
    *("--learning_rate", "--ema", "--clip_norm", "--weight_decay"),
    *("--dataset", "--augmentation", "--batch_size"),
}
SETTINGS = {setting.folder_name: setting for study in studies.STUDIES.values() for setting in study}


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_settings_differ_from_the_first_in_the_network_or_the_training(setting):
    def build(extra):
        common = ["--run", "x", *COMMON, "--ema", "0.9", "--clip_norm", "1"]
        config = vars(training_arguments.make_parser().parse_args([*common, *extra]))
        network = json.dumps(configuration.build_model(config).get_config())
        batches = [config[name] for name in ("dataset", "augmentation", "batch_size")]
        return network, (configuration.optimisation(config), batches)

    if setting == studies.DEFAULT:
        return
    network, training = build(setting.arguments)
    default_network, default_training = build(())
    concerns_training = bool(TRAINING_OPTIONS & set(setting.arguments))
    assert (network != default_network) != concerns_training
    assert (training != default_training) == concerns_training


def test_box_settings_are_known():
    without = {name for name, setting in SETTINGS.items() if not setting.has_boxes}
    assert {"depthwise_7x7", "dense_3x3", "3_blocks_depthwise_7x7"} <= without
    assert not {"boxes", "boxes_only", "3_blocks_boxes", "sum"} & without


def write_runs(path, values, pck):
    """The runs of one setting: a curve and a result for each seed."""
    runs = [Run(Setting("one"), seed, path / str(seed)) for seed in range(len(values))]
    for run, curve, result in zip(runs, values, pck, strict=True):
        folder = RunFolder(run.folder)
        folder.save_model(models.build("light", image_size=16, width=4, depth=1))
        write_json(folder.metrics_path, {"pck": result})
        for step, value in enumerate(curve):
            CurveWriter(folder.logs_path).add(5 * (step + 1), pck=value)
    return runs


def test_pictures_show_means_over_seeds(tmp_path, monkeypatch):
    runs = write_runs(tmp_path, [[10.0, 20.0], [30.0, 50.0, 60.0]], [20.0, 50.0])
    result = study_results.result_of(runs)
    # The second seed has finished one more epoch.
    assert result.steps == (5, 10) and result.progress == (20.0, 35.0)
    monkeypatch.setitem(studies.STUDIES, "small", (runs[0].setting,))
    (axes,) = study_results.picture_of("small", {runs[0].setting: result}).axes
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), [[5, 20], [10, 35]])


def test_runs_without_a_joint_that_counts(tmp_path, monkeypatch):
    runs = write_runs(tmp_path, [[np.nan], [np.nan]], [None, None])
    result = study_results.result_of(runs)
    monkeypatch.setitem(studies.STUDIES, "small", (runs[0].setting,))
    assert study_results.table_of("small", {runs[0].setting: result})[1][:3] == ["one", "-", "-"]
    study_results.picture_of("small", {runs[0].setting: result})


def test_removed_curves_are_named(tmp_path):
    runs = write_runs(tmp_path, [[1.0]], [1.0])
    shutil.rmtree(tmp_path / "0" / "logs")
    with pytest.raises(RunFolderError, match=r"0/logs has no curve 'pck'"):
        study_results.result_of(runs)


def test_runs_are_made_once_for_studies_that_share_a_setting(tmp_path):
    runs = studies.runs_of(["context", "boxes"], 2, tmp_path)
    folders = [run.folder for run in runs]
    count = len({*studies.STUDIES["context"], *studies.STUDIES["boxes"]})
    assert len(folders) == len(set(folders)) == 2 * count
    assert {run.seed for run in runs[:count]} == {0}  # All settings of one seed come first.


def test_folder_names_tell_settings_apart():
    settings = {s for study in studies.STUDIES.values() for s in study}
    assert len({setting.folder_name for setting in settings}) == len(settings)


@pytest.fixture
def small_study(monkeypatch):
    """Two settings, trained on drawn figures."""
    study = (studies.DEFAULT, Setting("depthwise 3x3", ("--context", "depthwise")))
    monkeypatch.setitem(studies.STUDIES, "small", study)
    command = (sys.executable, "-m", "tests.examples.pose.drawn_figures", "train")
    monkeypatch.setattr(studies, "TRAIN", command)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    return "small"


@pytest.mark.long
def test_command_trains_and_tables_mean_and_spread(small_study, tmp_path, capsys):
    command = [small_study, "--runs", str(tmp_path), "--seeds", "2", "--jobs", "2", "--", *COMMON]
    ablation.main(command)
    found = {
        name: [RunFolder(tmp_path / name / f"seed{seed}").metrics for seed in (0, 1)]
        for name in ("boxes", "depthwise_3x3")
    }
    lines = (tmp_path / "small.md").read_text().splitlines()
    assert lines[0].startswith("| small | PCK@0.2 |")
    for line, results in zip(lines[2:], found.values(), strict=True):
        pck = [result["pck"] for result in results]
        assert f"| {sum(pck) / 2:.1f} | {min(pck):.1f} to {max(pck):.1f} |" in line
        assert f"| {results[0]['parameters']:,} |" in line
    assert lines[0] in capsys.readouterr().out
    with Image.open(tmp_path / "small.png") as picture:
        assert min(picture.size) > 100

    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("metrics.json")}
    ablation.main(command)  # finished runs are not made again
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("metrics.json")} == before


def test_failed_runs_are_named_with_what_they_said(small_study, tmp_path):
    runs = [Run(Setting("bad", ("--image_size", "30")), 0, tmp_path / "bad")]
    with pytest.raises(RunFolderError, match=r"1 runs failed: .*bad(?s:.*)multiple of 4"):
        parallel_runs.make_runs(runs, COMMON, 1)


def test_trainings_end_with_the_command(tmp_path):
    """If a signal ends the command, its trainings end, and it starts no other training."""
    training = (
        "import os, pathlib, sys, time; folder = sys.argv[sys.argv.index('--run') + 1];"
        "pathlib.Path(folder, 'pid').write_text(str(os.getpid())); time.sleep(60)"
    )
    command = f"""
import pathlib, sys
from examples.pose.cli import command_line
from examples.pose.training import parallel_runs, studies
studies.TRAIN = (sys.executable, "-c", {training!r})
folders = [pathlib.Path({str(tmp_path)!r}) / str(seed) for seed in range(3)]
runs = [studies.Run(studies.DEFAULT, seed, folder) for seed, folder in enumerate(folders)]
sys.exit(command_line.run(lambda: parallel_runs.make_runs(runs, [], 2)))
"""
    children.assert_end_with(command, [tmp_path / str(seed) / "pid" for seed in range(2)])
    assert not (tmp_path / "2").exists()


@pytest.mark.parametrize("argument", [["--run", "x"], ["--seed=0"], ["--see", "3"]])
def test_arguments_of_its_own_are_refused(argument, tmp_path):
    with pytest.raises(UserError, match="is set by this command"):
        ablation.main(["boxes", "--runs", str(tmp_path / "runs"), "--", *argument])
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("argument", [
    ["--context", "depthwise"], ["--boxes", "2"], ["--kernel_size", "9"], ["--box_options", "{}"],
])  # fmt: skip
def test_arguments_of_the_settings_are_refused(argument, tmp_path):
    with pytest.raises(UserError, match=f"{argument[0]}` is set by the settings"):
        ablation.main(["boxes", "--runs", str(tmp_path / "runs"), "--", *argument])


def test_finished_runs_are_not_extended(tmp_path):
    run = RunFolder(write_tiny_run(tmp_path / "boxes" / "seed0", epochs=8))
    write_json(run.metrics_path, {"epochs": 8, "pck": 50.0})
    with pytest.raises(UserError, match=r"seed0 is finished, with `--epochs 8`\. Give the same"):
        ablation.main(["boxes", "--runs", str(tmp_path), "--", "--epochs", "12"])


@pytest.mark.parametrize("network", [(), ("--model", "light"), ("--image_size", "128")])
def test_the_study_of_the_scale_needs_its_planes(network, tmp_path):
    with pytest.raises(UserError, match="coordinate_scale needs `--model light` and `--image_size"):
        ablation.main(["coordinate_scale", "--runs", str(tmp_path / "runs"), "--", *network])
