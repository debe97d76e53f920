"""For an invalid argument, every command prints a one-line error and reads and writes nothing."""

import importlib
import os

import pytest

from examples.pose import evaluate
from examples.pose.cli import command_line
from examples.pose.cli.errors import UserError
from examples.pose.datasets import KeypointFiles

COUNTS = ["0", "-1", "1.5", "x", "nan", "", "1" + "0" * 20]
FILE = __file__
FILES = ["", FILE + "/x"]
FOLDERS = ["", FILE, FILE + "/x"]
RUNS = ["/nowhere", FILE]
# For each command: arguments that it requires, and invalid values of other arguments.
BAD = {
    "benchmarks.acceptance.__main__": (
        [],
        {"--rounds": COUNTS, "--runs": COUNTS, "--only": ["x"], "--output": FILES},
    ),
    "benchmarks.backends": (
        [],
        {
            "--steps": COUNTS,
            "--xla_steps": [*COUNTS, "1"],
            "--context": ["x"],
            "--width": COUNTS,
            "--output": FILES,
        },
    ),
    "benchmarks.compiled.__main__": ([], {"--rounds": COUNTS, "--output": FILES}),
    "benchmarks.coordinate_scale": (
        [],
        {"--seeds": COUNTS, "--steps": COUNTS, "--tasks": ["x"], "--optimizers": ["x"]},
    ),
    "benchmarks.export": (
        [],
        {
            "--rounds": COUNTS,
            "--threads": COUNTS,
            "--image_size": [*COUNTS, "97"],
            "--width": COUNTS,
            "--output": FILES,
            "--run": RUNS,
        },
    ),
    "benchmarks.input_pipeline": (
        [],
        {
            "--rounds": COUNTS,
            "--threads": COUNTS,
            "--models": ["x"],
            "--image_size": [*COUNTS, "97"],
            "--batch_size": COUNTS,
            "--output": FILES,
        },
    ),
    "benchmarks.kill_training": ([], {"--kills": COUNTS, "--seed": ["-1", "x", str(2**32)]}),
    "benchmarks.memory": ([], {"--threads": COUNTS}),
    "benchmarks.model": (
        [],
        {
            "--rounds": COUNTS,
            "--threads": COUNTS,
            "--kernel_sizes": [*COUNTS, "4"],
            "--image_size": [*COUNTS, "97"],
            "--model": ["x"],
            "--width": COUNTS,
            "--output": FILES,
        },
    ),
    "benchmarks.operator": (
        [],
        {"--rounds": COUNTS, "--threads": COUNTS, "--suite": ["x"], "--output": FOLDERS},
    ),
    "benchmarks.quantized_pose": (
        ["--run", "/nowhere"],
        {"--calibration": COUNTS, "--limit": COUNTS, "--run": RUNS, "--data_dir": FOLDERS},
    ),
    "examples.pose.ablation": (
        ["boxes", "--runs", "runs"],
        {"--runs": FOLDERS, "--seeds": COUNTS, "--jobs": COUNTS},
    ),
    "examples.pose.evaluate": (
        ["--run", "/nowhere"],
        {
            "--run": [*RUNS, ""],
            "--dataset": ["x"],
            "--data_dir": FOLDERS,
            "--prepared_dir": FOLDERS,
        },
    ),
    "examples.pose.launch": (
        [],
        {"--workers": COUNTS, "--max_restarts": ["-1", "x"]},
    ),
    "examples.pose.model_cost": (
        [],
        {
            "--model": ["x"],
            "--image_size": [*COUNTS, "97"],
            "--width": COUNTS,
            "--boxes": COUNTS,
            "--kernel_size": [*COUNTS, "4"],
        },
    ),
    "examples.pose.understand": (
        ["--run", "/nowhere"],
        {"--run": RUNS, "--data_dir": FOLDERS, "--prepared_dir": FOLDERS},
    ),
}
CASES = [
    pytest.param(module, [*needed, f"{name}={value}"], id=f"{module} {name}={value[-20:]}")
    for module, (needed, arguments) in BAD.items()
    for name, values in arguments.items()
    for value in values
]


@pytest.mark.parametrize("module, arguments", CASES)
def test_invalid_arguments_give_a_one_line_error(module, arguments, tmp_path, capsys, monkeypatch):
    main = importlib.import_module(module).main
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("benchmarks.command_line.print_machine", lambda: pytest.fail("it began"))
    try:
        code = command_line.run(lambda: main(arguments))
    except SystemExit as end:
        code = end.code
    errors = capsys.readouterr().err.strip()
    assert code in (1, 2) and errors.startswith("error: ") and len(errors.splitlines()) == 1
    name, _, value = arguments[-1].partition("=")
    assert name in errors or f"`{name.lstrip('-').rstrip('s')}`" in errors or value in errors
    assert not os.listdir(tmp_path)


RUN = {"images": "old", "annotations": "old.json", "validation": "old_validation.json"}


@pytest.mark.parametrize("given,expected", [
    ([], RUN),
    (["--annotations", "new.json"], {**RUN, "annotations": "new.json", "validation": None}),
    (["--validation", "new.json"], {**RUN, "validation": "new.json"}),
    (["--annotations", "a", "--validation", "b", "--images", "c"],
     {"images": "c", "annotations": "a", "validation": "b"}),
])  # fmt: skip
def test_labels_on_the_command_line_replace_those_of_the_run(given, expected):
    arguments = evaluate.make_parser().parse_args(["--run", "run", *given])
    *_, files = command_line.data_places(arguments, "keypoints", {**RUN, "flip_pairs": "a:b"})
    assert files == KeypointFiles(**expected, flip_pairs="a:b")


def test_files_of_keypoints_are_refused_for_other_data_sets():
    arguments = evaluate.make_parser().parse_args(["--run", "run", "--images", "d"])
    with pytest.raises(UserError, match=r"--images.*are for --dataset keypoints"):
        command_line.data_places(arguments, "lsp", {})
    # A run that was trained on `keypoints` can be measured on another data set.
    arguments = evaluate.make_parser().parse_args(["--run", "run"])
    assert command_line.data_places(arguments, "lsp", {**RUN, "data_dir": "d"})[0] == "d"


def test_a_home_folder_is_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for kind in (command_line.name, command_line.folder, command_line.new_folder):
        assert kind("~/x") == str(tmp_path / "x")
    assert command_line.new_file("~/x") == tmp_path / "x"
