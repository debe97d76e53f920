"""Predicts poses in pictures, a video or examples of a data set, and draws them.

python -m examples.pose.predict photo.jpg --output pose.png
python -m examples.pose.predict --model runs/demo photo.jpg --output pose.png
python -m examples.pose.predict --model runs/demo *.jpg --output poses/ --json poses.json
python -m examples.pose.predict two.jpg --box 20,30,80,200 --box 120,25,90,210 --output pose.png
python -m examples.pose.predict --model runs/demo *.jpg --boxes boxes.json --output poses/
python -m examples.pose.predict clip.mp4 --output pose.mp4
python -m examples.pose.predict --model runs/demo --dataset stick_figures --output grid.png
"""

import argparse
import re
import sys
from pathlib import Path

from examples.pose import datasets
from examples.pose.cli import command_line, prediction_arguments
from examples.pose.images.image_files import is_image_name
from examples.pose.images.video_files import READ, is_video_name, is_written_name

COUNT = 9  # Examples of a data set.


def _output(text: str) -> Path:
    """Argument type: the name of a picture or a video, or a folder, that can be written."""
    if is_image_name(text) or is_written_name(text):
        return command_line.new_file(text)
    if text == "-" or (Path(text).suffix and not Path(text).is_dir()):
        raise argparse.ArgumentTypeError(
            f"must be a folder, or end in .png, .jpg or .webp (.mp4 for a video), got {text}"
        )
    return Path(command_line.new_folder(text))


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser of `examples.pose.predict`."""
    parser = command_line.Parser(
        prog="python -m examples.pose.predict",
        description="Find poses in pictures, a video or examples of a data set, and draw them. "
        "Limbs on the person's own right are orange, on the left blue; hollow joints and "
        "dashed limbs are uncertain (in a labelled pose: hidden).",
    )
    parser.add_argument(
        "pictures",
        nargs="*",
        metavar="IMAGE",
        help="picture of one person that fills most of it, or of several people with boxes; or "
        "one video",
    )
    parser.add_argument(
        "--model",
        type=command_line.name,
        help="run folder of a trained model, or exported SavedModel (default: the network in "
        "examples/pose/pretrained/photographs, trained on photographs of sports)",
    )
    parser.add_argument(
        "--output",
        type=_output,
        required=True,
        help="picture to write, with all poses on one page; or a folder, for one picture each. "
        "Existing pictures are replaced, but never an input",
    )
    parser.add_argument(
        "--json",
        type=command_line.new_file,
        help="file for joints, in pixels, and scores; in COCO's results format if there are boxes. "
        "It is valid JSON after every picture, and replaces only a file that this command wrote",
    )
    parser.add_argument(
        "--box",
        type=command_line.box,
        action="append",
        metavar="X,Y,W,H",
        help="box of a person in pixels; repeat it for several people. Without boxes, the whole "
        "picture is one person",
    )
    parser.add_argument(
        "--boxes",
        type=command_line.name,
        metavar="FILE",
        help="file of people's boxes in COCO's results format, for any number of pictures; "
        "image_id is a picture's name or the number at its end, for videos the number of a frame, "
        "from 0",
    )
    parser.add_argument(
        "--min_score",
        type=command_line.score,
        default=0.5,
        help="joints with a lower score, from 0 to 1, are drawn as uncertain",
    )
    parser.add_argument(
        "--smooth",
        action="store_true",
        help="smooth the joints of a video over time; not with --boxes",
    )
    prediction_arguments.add_settings_arguments(parser)
    group = parser.add_argument_group(
        "examples of a data set",
        "instead of pictures: predictions beside the labelled poses, on one page",
    )
    group.add_argument("--dataset", choices=datasets.NAMES, help="data set")
    group.add_argument("--split", help="split (default: the split that is measured)")
    group.add_argument(
        "--count",
        type=command_line.positive,
        help=f"number of examples (default: {COUNT})",
    )
    command_line.add_data_arguments(group)
    return parser


def _join_boxes(argv: list[str]) -> list[str]:
    """Joins `--box -5,0,90,200` to one argument, because `-5,0,90,200` looks like an option."""
    joined = []
    for argument in argv:
        if joined and joined[-1] == "--box" and re.match(r"-[\d.]", argument):
            joined[-1] = f"--box={argument}"
        else:
            joined.append(argument)
    return joined


def main(argv=None) -> int:
    """The command `python -m examples.pose.predict`; returns its exit status."""
    parser = make_parser()
    arguments = parser.parse_args(_join_boxes(sys.argv[1:] if argv is None else argv))
    if bool(arguments.pictures) == bool(arguments.dataset):
        parser.error("give either pictures or --dataset")
    if arguments.dataset and (arguments.json or not is_image_name(arguments.output)):
        parser.error("with --dataset, --output is one picture (.png, .jpg), and there is no --json")
    if not arguments.dataset:
        given = [f"--{name}" for name in ("split", "count") if getattr(arguments, name)]
        given += command_line.given_data_arguments(arguments)
        if given:
            parser.error(f"{given[0]} is for --dataset")
    arguments.count = arguments.count or COUNT
    videos = [is_video_name(path) for path in (*arguments.pictures, arguments.output)]
    if any(videos) and (len(videos) != 2 or not all(videos)):
        parser.error(f"give one video ({' '.join(READ)}), and a video as --output, such as out.mp4")
    if arguments.smooth and (arguments.boxes or not any(videos)):
        parser.error("--smooth is for a video, in which the people are the same in all frames")
    if (arguments.box or arguments.boxes) and arguments.dataset:
        parser.error("--box and --boxes are for pictures: a data set has boxes of its own")
    if arguments.box and (arguments.boxes or len(arguments.pictures) > 1):
        parser.error("--box is for one picture, in place of --boxes")
    from examples.pose.inference import model_files, prediction

    model = model_files.find_model(arguments.model or model_files.PRETRAINED)
    if arguments.dataset:
        return prediction.predict_dataset(model, arguments)
    if is_video_name(arguments.output):
        return prediction.predict_video(model, arguments)
    return prediction.predict_pictures(model, arguments)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
