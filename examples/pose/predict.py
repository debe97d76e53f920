"""Finds the pose in pictures, or in examples of a data set, and draws it.

python -m examples.pose.predict photo.jpg --output pose.png
python -m examples.pose.predict --model runs/demo photo.jpg --output pose.png
python -m examples.pose.predict --model runs/demo *.jpg --output poses/ --json poses.json
python -m examples.pose.predict --model runs/demo --dataset stick_figures --output grid.png
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import rich.console
import rich.table
import rich.text

from examples.pose import command_line, datasets, drawing, heatmaps, metrics
from examples.pose.images import ImageError, is_image_name, read_image, write_image
from examples.pose.predictor import load_predictor
from examples.pose.run_folder import RunFolder, RunFolderError, write_json

# The run folder of the weights that come along; its README is their card.
PRETRAINED = Path(__file__).parent / "pretrained" / "stick_figures"
# Smaller pictures are enlarged to this many pixels on their longer side before a pose is drawn.
DRAWING_SIZE = 384
GRID_DRAWING_SIZE = 224


class PredictError(Exception):
    """The command cannot do what was asked; the message says why."""


def predict_files(predictor, paths, output, min_score: float) -> tuple[list[dict], list[str]]:
    """Predicts and draws picture files. One that cannot be read does not stop the others.

    Args:
        predictor: see `examples.pose.predictor`.
        paths: the files.
        output: name of a picture: all of them drawn on one page; or of a folder, which gets one
            picture for each, named after it.
        min_score: joints that score less are drawn as uncertain.

    Returns:
        What was found, a dict for each file that could be read, and the problems met, one line
        each.
    """
    output, drawings, answers, problems = Path(output), [], [], []
    for path, name in zip(paths, _unique_names(paths), strict=True):
        try:
            image = read_image(path)
            joints, scores = predictor.predict(image)
            drawn = drawing.draw_pose(
                image,
                joints,
                drawing.visibility_of_scores(scores, min_score),
                predictor.skeleton,
                min_size=DRAWING_SIZE,
            )
            if is_image_name(output):
                drawings.append(drawn)
            else:
                write_image(output / name, drawn)
        except ImageError as error:
            problems.append(str(error))
            continue
        answers.append(
            {
                "file": str(path),
                "height": image.shape[0],
                "width": image.shape[1],
                "joints": joints.tolist(),
                "scores": scores.tolist(),
            }
        )
    if drawings:
        columns = int(np.ceil(np.sqrt(len(drawings))))
        write_image(output, drawing.draw_grid(drawings, columns))
    return answers, problems


def draw_examples(predictor, dataset, count: int, min_score: float) -> tuple[np.ndarray, int, int]:
    """Draws the first examples of a data set: the labelled pose beside the predicted one.

    Args:
        predictor: see `examples.pose.predictor`.
        dataset: `tf.data.Dataset` of examples with `image`, `joints` and `visibility`.
        count: how many examples.
        min_score: joints that score less are drawn as uncertain.

    Returns:
        The page, uint8 `[height, width, 3]`; how many joints were found within PCK@0.2's
        tolerance; and how many there were to find.
    """
    panels, total_found, total_counted = [], 0, 0
    for example in dataset.take(count).as_numpy_iterator():
        joints, scores = predictor.predict(example["image"])
        found, counted = metrics.found_joints(
            joints[np.newaxis],
            example["joints"][np.newaxis],
            example["visibility"][np.newaxis] > 0,
            predictor.skeleton.pck_reference,
        )
        found, counted = int(np.sum(found)), int(np.sum(counted))
        panels.append(
            drawing.draw_comparison(
                example["image"],
                example["joints"],
                example["visibility"],
                joints,
                scores,
                predictor.skeleton,
                min_score=min_score,
                min_size=GRID_DRAWING_SIZE,
                captions=("truth", f"prediction: {found} of {counted} found"),
            )
        )
        total_found, total_counted = total_found + found, total_counted + counted
    columns = int(np.ceil(np.sqrt(len(panels))))
    return drawing.draw_grid(panels, columns, gap=16), total_found, total_counted


def _unique_names(paths) -> list[str]:
    """Names for the drawings in one folder, also of pictures that share a name."""
    names = []
    for path in paths:
        stem, number = Path(path).stem, 1
        while (name := f"{stem}_pose{'' if number == 1 else number}.png") in names:
            number += 1
        names.append(name)
    return names


def _print_answer(answer: dict, skeleton, min_score: float) -> None:
    title = f"{answer['file']} ({answer['width']} x {answer['height']})"
    table = rich.table.Table(title=rich.text.Text(title), title_justify="left")
    table.add_column("joint")
    for heading in ("x", "y", "score"):
        table.add_column(heading, justify="right")
    rows = zip(skeleton.joint_names, answer["joints"], answer["scores"], strict=True)
    for name, (x, y), score in rows:
        style = None if score >= min_score else "dim"
        table.add_row(name.replace("_", " "), f"{x:.1f}", f"{y:.1f}", f"{score:.2f}", style=style)
    rich.console.Console().print(table)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.pose.predict",
        description="Find the pose in pictures, or in examples of a data set, and draw it. "
        "Limbs on the person's own right are orange, on the left blue; hollow joints and "
        "dashed limbs are uncertain (in a labelled pose: hidden).",
    )
    parser.add_argument(
        "images", nargs="*", metavar="IMAGE", help="picture of one person that fills most of it"
    )
    parser.add_argument(
        "--model",
        default=PRETRAINED,
        help="run folder of a trained model, or exported SavedModel (default: the weights in "
        "examples/pose/pretrained, which have seen drawn figures and no photograph)",
    )
    parser.add_argument(
        "--output",
        required=True,
        help="picture to write (one page for all); or a folder, for one picture each",
    )
    parser.add_argument(
        "--json", help="file to write joints and scores to, in the pictures' pixels"
    )
    parser.add_argument(
        "--min_score",
        type=float,
        default=0.5,
        help="joints that score less, of 0 to 1, are drawn as uncertain (default: %(default)s)",
    )
    parser.add_argument(
        "--decoding",
        choices=heatmaps.DECODINGS,
        help="how joints are read from the heatmaps of a run folder's model (default: quarter)",
    )
    group = parser.add_argument_group(
        "examples of a data set", "instead of pictures: predictions beside the truth, on one page"
    )
    group.add_argument("--dataset", choices=datasets.NAMES, help="the data set")
    group.add_argument("--split", help="the split (default: the one to measure on)")
    group.add_argument(
        "--count", type=int, default=9, help="how many examples (default: %(default)s)"
    )
    command_line.add_data_arguments(group)
    return parser


def main(argv=None) -> None:
    """The command `python -m examples.pose.predict`."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if bool(arguments.images) == bool(arguments.dataset):
        parser.error("give either pictures or --dataset")
    if arguments.dataset and (arguments.json or not is_image_name(arguments.output)):
        parser.error("with --dataset, --output is one picture (.png, .jpg), and there is no --json")
    if arguments.count < 1:
        parser.error(f"--count must be at least 1, got {arguments.count}")
    if Path(arguments.output).suffix and not is_image_name(arguments.output):
        parser.error(f"--output {arguments.output}: must be a folder, or end in .png or .jpg")
    try:
        predictor = load_predictor(arguments.model, arguments.decoding)
        run = _run_on_dataset if arguments.dataset else _run_on_files
        run(predictor, arguments)
    except (PredictError, RunFolderError, ImageError, OSError) as error:
        sys.exit(f"error: {error}")


def _run_on_files(predictor, arguments) -> None:
    answers, problems = predict_files(
        predictor, arguments.images, arguments.output, arguments.min_score
    )
    for answer in answers:
        _print_answer(answer, predictor.skeleton, arguments.min_score)
    if answers:
        print(f"Drawn: {arguments.output}")
    if answers and arguments.json:
        names = list(predictor.skeleton.joint_names)
        write_json(Path(arguments.json), {"joint_names": names, "images": answers})
        print(f"Joints and scores: {arguments.json}")
    if problems:
        sys.exit("\n".join(f"error: {problem}" for problem in problems))


def _run_on_dataset(predictor, arguments) -> None:
    # Where the data are is known to a run folder, but not to a SavedModel.
    run = RunFolder(arguments.model)
    known = run.config if run.config_path.exists() else {}
    places = command_line.data_places(arguments, known)
    try:
        split = arguments.split or datasets.evaluation_split(arguments.dataset)
        dataset, skeleton = datasets.load(arguments.dataset, split, *places, arguments.skip_broken)
    except ValueError as error:
        raise PredictError(error) from None
    if skeleton != predictor.skeleton:
        raise PredictError(
            f"the model in {arguments.model} was trained for other joints than the data set "
            f"{arguments.dataset} has."
        )
    page, found, counted = draw_examples(predictor, dataset, arguments.count, arguments.min_score)
    write_image(arguments.output, page)
    print(f"{found} of {counted} joints found in the examples drawn: {arguments.output}")


if __name__ == "__main__":
    main()
