"""The work of `examples.pose.predict`: checks inputs and outputs, predicts, and reports."""

import argparse
import contextlib
import sys
from pathlib import Path

from examples.pose import datasets
from examples.pose.cli import command_line
from examples.pose.cli.errors import as_user_error
from examples.pose.files import growing_json, output_paths
from examples.pose.images import drawing, video_files
from examples.pose.images.image_files import is_image_name, write_image
from examples.pose.inference import model_files, person_boxes, predict_examples, predict_frames
from examples.pose.inference.predict_files import (
    MAX_PAGE_SIDE,
    Outputs,
    PredictError,
    predict_all,
    printable,
    unique_names,
)
from examples.pose.inference.predictor import Predictor, load_predictor
from examples.pose.training.run_folder import RunFolder

JSON_NAMES = ("joint_names", "images")
# The names in each result in COCO's format, which is written if there are boxes.
RESULT_NAMES = ("image_id", "category_id", "keypoints", "score", "file_name")


def _check_files(model: Path, paths: list[str], names: list[str], arguments) -> None:
    """Raises an error if a result would replace an input or a JSON file of another program."""
    output = arguments.output
    if is_image_name(output) or video_files.is_video_name(output):
        outputs = [("--output", output)]
    else:
        outputs = [(f"--output {output}:", output / name) for name in names]
    if arguments.json:
        outputs.append(("--json", arguments.json))
        path = arguments.json
        if path == output or path in output.parents:
            raise PredictError(f"--json {path} is the folder of --output. Give another name.")
        own = any(growing_json.holds_only(path, set(n)) for n in (JSON_NAMES, RESULT_NAMES))
        if path.is_file() and not own:
            raise PredictError(
                f"--json {path} exists and was not written by this command. Give another name."
            )
    inputs = [*paths, *([] if arguments.boxes is None else [arguments.boxes])]
    output_paths.check_outputs(outputs, [*inputs, *model_files.model_inputs(model)])


def _without_repeats(paths: list[str]) -> list[str]:
    """Returns each file once, with a note on standard error for those given again."""
    path_of = {}
    for path in paths:
        if path_of.setdefault(output_paths.identity(path), path) is not path:
            print(f"{path}: given twice, used once.", file=sys.stderr)
    return list(path_of.values())


def predict_pictures(model: Path, arguments: argparse.Namespace) -> int:
    """Predicts the pictures of a command line; returns the exit status."""
    paths = _without_repeats(arguments.pictures)
    names = unique_names(paths)
    _check_files(model, paths, names, arguments)
    boxes = _boxes(arguments, paths)
    predictor = _load(model, arguments)
    with _json_file(arguments.json, predictor, has_boxes=boxes is not None) as json_file:
        outputs = Outputs(arguments.output, json_file, len(paths))
        problems = predict_all(predictor, paths, names, outputs, arguments.min_score, boxes)
        # An earlier file would look like the results of this command.
        empty = json_file is not None and not json_file.is_written
        if empty and (outputs.done or json_file.path.exists()):
            json_file.write_empty()
    if outputs.done:
        _print_outputs(arguments, json_file)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


def predict_video(model: Path, arguments: argparse.Namespace) -> int:
    """Predicts the video of a command line; returns the exit status."""
    (path,) = arguments.pictures
    _check_files(model, [path], [], arguments)
    boxes = None if arguments.boxes is None else person_boxes.read(arguments.boxes)
    if boxes is not None and not boxes.has_frames:
        raise person_boxes.BoxError(
            f"{arguments.boxes} has no box for a frame of {printable(path)}. Its `image_id` must "
            "be the number of a frame, counted from 0."
        )
    if arguments.box:
        boxes = [person_boxes.Box(bbox) for bbox in arguments.box]
    predictor = _load(model, arguments)
    with _json_file(arguments.json, predictor, has_boxes=True) as json_file:
        done, left_out = predict_frames.predict_frames(
            predictor,
            path,
            arguments.output,
            arguments.min_score,
            boxes,
            arguments.smooth,
            json_file,
        )
    _print_outputs(arguments, json_file, f", {done} frames")
    if left_out:
        print(
            f"error: {left_out} boxes of {arguments.boxes} were left out: they lie outside of "
            f"their frames, or belong to frames that {printable(path)} does not have.",
            file=sys.stderr,
        )
    return 1 if left_out else 0


def _boxes(
    arguments: argparse.Namespace, paths: list[str]
) -> list[list[person_boxes.Box] | person_boxes.BoxError] | None:
    """The boxes in each picture, see `Boxes.of_pictures`; None if the command line has no boxes.

    Raises:
        BoxError: The file of boxes is invalid, or has no box for any of the pictures.
    """
    if arguments.box:
        return [[person_boxes.Box(bbox) for bbox in arguments.box]]
    if arguments.boxes is None:
        return None
    boxes = person_boxes.read(arguments.boxes).of_pictures(paths)
    if not any(boxes):
        raise person_boxes.BoxError(
            f"{arguments.boxes} has no box for {printable(paths[0])}. Its `image_id` must be the "
            "name of a picture, with or without suffix, or the number at its end."
        )
    return boxes


def _json_file(
    path: Path | None, predictor: Predictor, has_boxes: bool
) -> contextlib.AbstractContextManager[growing_json.GrowingJson | None]:
    """Opens the file of results: a list in COCO's format, or an object for whole pictures."""
    if path is None:
        return contextlib.nullcontext()
    if has_boxes:
        return growing_json.GrowingJson(path, {}, None)
    head = {JSON_NAMES[0]: list(predictor.skeleton.joint_names)}
    return growing_json.GrowingJson(path, head, JSON_NAMES[1])


def _print_outputs(
    arguments: argparse.Namespace, json_file: growing_json.GrowingJson | None, count: str = ""
) -> None:
    print(f"Drawn: {printable(arguments.output)}{count}")
    if json_file is not None and json_file.is_written:
        print(f"Joints and scores: {printable(arguments.json)}")


def _load(model: Path, arguments: argparse.Namespace) -> Predictor:
    predictor = load_predictor(model, arguments.decoding, arguments.flip_test)
    flip_test = {True: "with flip test", False: "without flip test"}
    settings = predictor.settings
    how = (
        f"{flip_test[settings['flip_test']]}, decoding {settings['decoding']}"
        if settings
        else "exported by an earlier version, which did not record the flip test"
    )
    print(f"Model: {printable(model)} ({how})")
    return predictor


def predict_dataset(model: Path, arguments: argparse.Namespace) -> int:
    """Predicts examples of a data set, on one page; returns the exit status."""
    # The config of a run records the folders of its data. A SavedModel has no config.
    run = RunFolder(model)
    config = run.config if run.config_path.exists() else {}
    data_dir, prepared_dir, files = command_line.data_places(arguments, arguments.dataset, config)
    output_paths.check_outputs([("--output", arguments.output)], model_files.model_inputs(model))
    for folder in (data_dir, prepared_dir, files.images):
        output_paths.check_not_inside("--output", arguments.output, folder)
    predictor = _load(model, arguments)
    with as_user_error(ValueError):
        split = arguments.split or datasets.evaluation_split(arguments.dataset)
        dataset, skeleton = datasets.load(
            arguments.dataset, split, data_dir, prepared_dir, arguments.skip_broken, files
        )
    if skeleton.joint_names != predictor.skeleton.joint_names:
        raise PredictError(
            f"the model in {model} was trained for other joints than the data set "
            f"{arguments.dataset} has."
        )
    page, found, counted = predict_examples.draw_examples(
        predictor, dataset, arguments.count, arguments.min_score
    )
    write_image(arguments.output, drawing.shrink(page, MAX_PAGE_SIDE))
    print(f"{found} of {counted} joints found in the examples drawn: {arguments.output}")
    return 0
