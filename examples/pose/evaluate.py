"""Measures a trained pose model: joints found, overall and per joint, its size, cost and speed.

    python -m examples.pose.evaluate --run runs/demo

measures on the test split of the data set that the run was trained on. The results are printed and
written to `evaluation-DATASET.json` in the run folder, with pictures of the curve and the joints.
All data sets are measured by PCK@0.2, `mpii` by PCKh@0.5 as well, and `coco_keypoints` by COCO's
own evaluation, with the predictions in COCO's format in `evaluation-DATASET-coco-results.json`.
"""

import argparse
import pathlib
import sys

from examples.pose import datasets
from examples.pose.cli import command_line, interruption, prediction_arguments


def make_parser() -> argparse.ArgumentParser:
    """The command line of this module."""
    parser = command_line.Parser(
        prog="python -m examples.pose.evaluate",
        description="Measures a trained pose model on a test split.",
    )
    parser.add_argument(
        "--run", required=True, type=command_line.new_folder, help="folder that train wrote"
    )
    parser.add_argument(
        "--dataset",
        choices=datasets.NAMES,
        help="data set to measure on (default: the first one of the run)",
    )
    command_line.add_data_arguments(parser)
    prediction_arguments.add_settings_arguments(parser)
    return parser


def main(argv: list[str] | None = None) -> None:
    """Evaluates as the command line says."""
    arguments = make_parser().parse_args(argv)
    with interruption.explain_stop(lambda: "Nothing was written; the same command starts again."):
        _evaluate(arguments)


def _evaluate(arguments: argparse.Namespace) -> None:
    from examples.pose.datasets.skeletons import Skeleton
    from examples.pose.evaluation import accuracy, coco_evaluation, cost
    from examples.pose.files.atomic_write import write_json
    from examples.pose.training.run_folder import RunFolder

    run = RunFolder(arguments.run)
    config = run.config
    name = arguments.dataset or run.dataset
    model = run.load_model()
    photographs, skeleton = accuracy.read_test_photographs(
        name,
        config["image_size"],
        *command_line.data_places(arguments, config),
        Skeleton.from_metadata(config["skeleton"]),
        arguments.skip_broken,
    )
    how = prediction_arguments.settings_of(arguments)
    coco = coco_evaluation.CocoAP()
    result = accuracy.evaluate_joints(model, photographs, skeleton, **how, coco=coco)
    measured_cost = cost.evaluate_cost(model, config["image_size"])
    split = datasets.evaluation_split(name)
    accuracy.print_results(
        result, f"{run.path}, {config.get('model', 'unknown')} model, on {name} {split}"
    )
    cost.print_cost(measured_cost)
    stem = run.path / f"evaluation-{name.replace('/', '-')}"
    accuracy.write_results(stem, result, coco)
    path = pathlib.Path(f"{stem}.json")
    write_json(path, {"dataset": name, "split": split, **how, **result, **measured_cost})
    print(f"Written to {path}, with pictures beside it")


if __name__ == "__main__":
    sys.exit(command_line.run(main))
