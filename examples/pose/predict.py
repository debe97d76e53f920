"""Finds the pose in pictures, or in examples of a data set, and draws it.

python -m examples.pose.predict photo.jpg --output pose.png
python -m examples.pose.predict --model runs/demo photo.jpg --output pose.png
python -m examples.pose.predict --model runs/demo *.jpg --output poses/ --json poses.json
python -m examples.pose.predict --model runs/demo --dataset stick_figures --output grid.png
"""

import argparse
import contextlib
import sys
from pathlib import Path

from examples.pose import datasets
from examples.pose.cli import command_line
from examples.pose.cli.errors import as_user_error
from examples.pose.files import growing_json, output_paths
from examples.pose.images.image_files import is_image_name, write_image
from examples.pose.inference import model_files, predict_examples
from examples.pose.inference import predictor as predictors
from examples.pose.inference.predict_files import (
    Outputs,
    PredictError,
    predict_all,
    shown,
    unique_names,
)
from examples.pose.inference.predictor import load_predictor
from examples.pose.training.run_folder import RunFolder

# The run folder of the weights that the package ships; its README describes them.
PRETRAINED = Path(__file__).parent / "pretrained" / "stick_figures"
JSON_NAMES = ("joint_names", "images")


def _output(text: str) -> Path:
    """The type of `--output`: a picture or a folder, which can be written."""
    if is_image_name(text):
        return command_line.new_file(text)
    if text == "-" or (Path(text).suffix and not Path(text).is_dir()):
        raise argparse.ArgumentTypeError(
            f"must be a folder, or end in .png, .jpg or .webp, got {text}"
        )
    return Path(command_line.new_folder(text))


def _parser() -> argparse.ArgumentParser:
    parser = command_line.Parser(
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
        help="run folder of a trained model, or exported SavedModel (default: the network in "
        "examples/pose/pretrained, trained on drawn figures only)",
    )
    parser.add_argument(
        "--output",
        type=_output,
        required=True,
        help="picture to write (one page for all); or a folder, for one picture each. Earlier "
        "pictures of these names are replaced, but never one that is read",
    )
    parser.add_argument(
        "--json",
        type=command_line.new_file,
        help="file to write joints and scores to, in the pictures' pixels; it is valid JSON after "
        "every picture, and replaces only an earlier one of this command",
    )
    parser.add_argument(
        "--min_score",
        type=command_line.score,
        default=0.5,
        help="joints that score less, of 0 to 1, are drawn as uncertain (default: %(default)s)",
    )
    predictors.add_settings_arguments(parser)
    group = parser.add_argument_group(
        "examples of a data set", "instead of pictures: predictions beside the truth, on one page"
    )
    group.add_argument("--dataset", choices=datasets.NAMES, help="the data set")
    group.add_argument("--split", help="the split (default: the one to measure on)")
    group.add_argument(
        "--count",
        type=command_line.positive,
        default=9,
        help="how many examples (default: %(default)s)",
    )
    command_line.add_data_arguments(group)
    return parser


def main(argv=None) -> int:
    """The command `python -m examples.pose.predict`; returns its exit status."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if bool(arguments.images) == bool(arguments.dataset):
        parser.error("give either pictures or --dataset")
    if arguments.dataset and (arguments.json or not is_image_name(arguments.output)):
        parser.error("with --dataset, --output is one picture (.png, .jpg), and there is no --json")
    if arguments.split and not arguments.dataset:
        parser.error("--split is for --dataset")
    model = model_files.find_model(arguments.model)
    run = _run_on_dataset if arguments.dataset else _run_on_files
    return run(model, arguments)


def _check_files(model: Path, paths: list[str], names: list[str], arguments) -> None:
    """Raises an error if a result would replace something that is read, or somebody's own JSON."""
    output = arguments.output
    if is_image_name(output):
        outputs = [("--output", output)]
    else:
        outputs = [(f"--output {output}:", output / name) for name in names]
    if arguments.json:
        outputs.append(("--json", arguments.json))
        path = arguments.json
        if path == output or path in output.parents:
            raise PredictError(f"--json {path} is the folder of --output. Give another name.")
        if path.is_file() and not growing_json.holds_only(path, set(JSON_NAMES)):
            raise PredictError(
                f"--json {path} exists, and is not what this command writes: it is not replaced."
            )
    output_paths.check_outputs(outputs, [*paths, *model_files.model_inputs(model)])


def _without_repeats(paths: list[str]) -> list[str]:
    kept = {}
    for path in paths:
        if kept.setdefault(output_paths.identity(path), path) is not path:
            print(f"{path}: given twice, used once.", file=sys.stderr)
    return list(kept.values())


def _run_on_files(model: Path, arguments) -> int:
    paths = _without_repeats(arguments.images)
    names = unique_names(paths)
    _check_files(model, paths, names, arguments)
    predictor = _load(model, arguments)
    with contextlib.ExitStack() as stack:
        json_file = None
        if arguments.json:
            head = {JSON_NAMES[0]: list(predictor.skeleton.joint_names)}
            json_file = growing_json.GrowingJson(arguments.json, head, JSON_NAMES[1])
            stack.enter_context(json_file)
        outputs = Outputs(arguments.output, json_file)
        problems = predict_all(predictor, paths, names, outputs, arguments.min_score)
    if outputs.done:
        print(f"Drawn: {shown(arguments.output)}")
        if arguments.json:
            print(f"Joints and scores: {shown(arguments.json)}")
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _load(model: Path, arguments):
    predictor = load_predictor(model, arguments.decoding, arguments.flip_test)
    flip_test = {True: "with flip test", False: "without flip test"}
    settings = predictor.settings
    how = (
        f"{flip_test[settings['flip_test']]}, decoding {settings['decoding']}"
        if settings
        else "exported by an earlier version, which did not record the flip test"
    )
    print(f"Model: {shown(model)} ({how})")
    return predictor


def _run_on_dataset(model: Path, arguments) -> int:
    # A run folder knows where the data are, a SavedModel does not.
    run = RunFolder(model)
    known = run.config if run.config_path.exists() else {}
    places = command_line.data_places(arguments, known)
    output_paths.check_outputs([("--output", arguments.output)], model_files.model_inputs(model))
    for folder in places:
        output_paths.check_not_inside("--output", arguments.output, folder)
    predictor = _load(model, arguments)
    with as_user_error(ValueError):
        split = arguments.split or datasets.evaluation_split(arguments.dataset)
        dataset, skeleton = datasets.load(arguments.dataset, split, *places, arguments.skip_broken)
    if skeleton != predictor.skeleton:
        raise PredictError(
            f"the model in {arguments.model} was trained for other joints than the data set "
            f"{arguments.dataset} has."
        )
    page, found, counted = predict_examples.draw_examples(
        predictor, dataset, arguments.count, arguments.min_score
    )
    write_image(arguments.output, page)
    print(f"{found} of {counted} joints found in the examples drawn: {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
