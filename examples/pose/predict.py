"""Predicts the pose in pictures or in examples of a data set, and draws it.

python -m examples.pose.predict photo.jpg --output pose.png
python -m examples.pose.predict --model runs/demo photo.jpg --output pose.png
python -m examples.pose.predict --model runs/demo *.jpg --output poses/ --json poses.json
python -m examples.pose.predict --model runs/demo --dataset stick_figures --output grid.png
"""

import argparse
import sys
from pathlib import Path

from examples.pose import datasets
from examples.pose.cli import command_line, prediction_arguments
from examples.pose.images.image_files import is_image_name


def _output(text: str) -> Path:
    """Argument type: the name of a picture, or a folder, that can be written."""
    if is_image_name(text):
        return command_line.new_file(text)
    if text == "-" or (Path(text).suffix and not Path(text).is_dir()):
        raise argparse.ArgumentTypeError(
            f"must be a folder, or end in .png, .jpg or .webp, got {text}"
        )
    return Path(command_line.new_folder(text))


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser of `examples.pose.predict`."""
    parser = command_line.Parser(
        prog="python -m examples.pose.predict",
        description="Find the pose in pictures, or in examples of a data set, and draw it. "
        "Limbs on the person's own right are orange, on the left blue; hollow joints and "
        "dashed limbs are uncertain (in a labelled pose: hidden).",
    )
    parser.add_argument(
        "pictures", nargs="*", metavar="IMAGE", help="picture of one person that fills most of it"
    )
    parser.add_argument(
        "--model",
        help="run folder of a trained model, or exported SavedModel (default: the network in "
        "examples/pose/pretrained, trained on drawn figures only)",
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
        help="file for joints, in pixels, and scores. It is valid JSON after every picture, and "
        "replaces only a file that this command wrote",
    )
    parser.add_argument(
        "--min_score",
        type=command_line.score,
        default=0.5,
        help="joints with a lower score, from 0 to 1, are drawn as uncertain",
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
        default=9,
        help="number of examples",
    )
    command_line.add_data_arguments(group)
    return parser


def main(argv=None) -> int:
    """The command `python -m examples.pose.predict`; returns its exit status."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    if bool(arguments.pictures) == bool(arguments.dataset):
        parser.error("give either pictures or --dataset")
    if arguments.dataset and (arguments.json or not is_image_name(arguments.output)):
        parser.error("with --dataset, --output is one picture (.png, .jpg), and there is no --json")
    if arguments.split and not arguments.dataset:
        parser.error("--split is for --dataset")
    from examples.pose.inference import model_files, prediction

    model = model_files.find_model(arguments.model or model_files.PRETRAINED)
    predict = prediction.predict_dataset if arguments.dataset else prediction.predict_pictures
    return predict(model, arguments)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
