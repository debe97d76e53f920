"""Draws examples of a pose data set, with their skeletons, on one page.

python -m examples.pose.datasets stick_figures --output grid.png
python -m examples.pose.datasets lsp --data_dir ~/data --split test --output grid.png
python -m examples.pose.datasets keypoints --annotations a.json --images pictures --output grid.png
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from examples.pose import datasets
from examples.pose.cli import command_line
from examples.pose.cli.errors import as_user_error
from examples.pose.files import output_paths
from examples.pose.images.image_files import new_picture, write_image


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser of `examples.pose.datasets`."""
    parser = command_line.Parser(
        prog="python -m examples.pose.datasets",
        description="Draws examples of a pose data set, with their skeletons, on one page. "
        "Orange is the person's right, blue the left; hollow joints are occluded.",
    )
    parser.add_argument("name", choices=datasets.NAMES, help="the data set")
    parser.add_argument(
        "--output", type=new_picture, required=True, help="picture to write, for example grid.png"
    )
    parser.add_argument("--split", default="train", help="the split")
    parser.add_argument(
        "--count",
        type=command_line.positive,
        default=24,
        help="how many examples",
    )
    parser.add_argument(
        "--columns",
        type=command_line.positive,
        default=6,
        help="images in a row",
    )
    parser.add_argument("--no_labels", action="store_true", help="leave the skeletons out")
    command_line.add_data_arguments(parser)
    command_line.add_flip_pairs(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """The command `python -m examples.pose.datasets`."""
    args = make_parser().parse_args(argv)
    for folder in (args.data_dir, args.prepared_dir, args.images):
        output_paths.check_not_inside("--output", args.output, folder)
    from examples.pose.datasets import example_page

    with as_user_error(ValueError):
        data_dir, prepared_dir, files = command_line.data_places(args, args.name, {})
        dataset, skeleton = datasets.load(
            args.name, args.split, data_dir, prepared_dir, args.skip_broken, files
        )
    page = example_page.draw_examples(
        dataset, skeleton, args.count, args.columns, not args.no_labels
    )
    write_image(args.output, page)
    print(example_page.describe(dataset, skeleton))
    print(f"Wrote {args.output}: {args.name}, {args.split}.")


if __name__ == "__main__":
    sys.exit(command_line.run(main))
