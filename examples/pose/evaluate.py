"""Measures a trained pose model: accuracy, number of parameters, multiply-adds, and speed.

    python -m examples.pose.evaluate --run runs/demo

By default, it measures on the evaluation split of the first data set that the run was trained on.
It prints the results and writes them to `evaluation-DATASET.json` in the run folder, with plots of
PCK by tolerance and by joint, and a page of the worst, the median and the best predictions. The
metric is PCK@0.2; `mpii` also has PCKh@0.5, and data sets with the joints of COCO
COCO's own evaluation, with the predictions in COCO's format in
`evaluation-DATASET-coco-results.json`.
"""

import argparse
import dataclasses
import pathlib
import sys

from examples.pose import datasets
from examples.pose.cli import command_line, interruption, prediction_arguments


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser of `examples.pose.evaluate`."""
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
    """The command `python -m examples.pose.evaluate`."""
    arguments = make_parser().parse_args(argv)
    with interruption.explain_stop(lambda: "Nothing was written; the same command starts again."):
        measured = _measure(arguments)
    with interruption.explain_stop(
        lambda: "Not all results were written; the same command writes them again."
    ):
        _write(*measured)


def _measure(arguments: argparse.Namespace) -> tuple:
    """Measures a run and prints the results; returns the arguments of `_write`."""
    from examples.pose.datasets.skeletons import Skeleton
    from examples.pose.evaluation import accuracy, coco_evaluation, cost, example_pages
    from examples.pose.training.run_folder import RunFolder

    run = RunFolder(arguments.run)
    config = run.config
    name = arguments.dataset or run.dataset
    model = run.load_model()
    places = command_line.data_places(arguments, name, config)
    photographs, skeleton = accuracy.read_test_photographs(
        name,
        config["image_size"],
        *places,
        Skeleton.from_metadata(config["skeleton"]),
        arguments.skip_broken,
    )
    trained_with = config.get("digests", {}).get("test", photographs.digest)
    if name == run.dataset == datasets.KEYPOINTS and photographs.digest != trained_with:
        print(
            "note: these pictures or labels are not those that the training measured on.",
            file=sys.stderr,
        )
    settings = prediction_arguments.settings_of(arguments)
    coco = coco_evaluation.CocoAP()
    poses = accuracy.predict_people(model, photographs, skeleton, **settings)
    result = accuracy.measure_joints(*poses, photographs, skeleton, coco)
    measured_cost = cost.evaluate_cost(model, config["image_size"])
    split = datasets.evaluation_split(name)
    accuracy.print_results(
        result, f"{run.path}, {config.get('model', 'unknown')} model, on {name} {split}"
    )
    cost.print_cost(measured_cost)
    page = example_pages.draw_ranked(photographs, skeleton, *poses)
    measured_on = {"dataset": name, "split": split}
    if name == datasets.KEYPOINTS:
        measured_on |= dataclasses.asdict(places[2])
    stem = run.path / f"evaluation-{name.replace('/', '-')}"
    return stem, {**measured_on, **settings, **result, **measured_cost}, coco, page


def _write(stem: pathlib.Path, result: dict, coco, page) -> None:
    """Writes the files of an evaluation, whose names begin with `stem`."""
    from examples.pose.evaluation import accuracy
    from examples.pose.files.atomic_write import write_json
    from examples.pose.images.image_files import write_image

    accuracy.write_results(stem, result, coco)
    if page is not None:
        write_image(f"{stem}-examples.jpg", page)
    else:
        print(
            "note: PCK is unknown, because nobody has both joints labelled whose distance it is "
            "relative to.",
            file=sys.stderr,
        )
    path = pathlib.Path(f"{stem}.json")
    write_json(path, result)
    print(f"Written to {path}, with pictures beside it")


if __name__ == "__main__":
    sys.exit(command_line.run(main))
