"""Draws what a box network has learned: boxes, kernels, sizes, its effective receptive field.

    python -m examples.pose.train --dataset stick_figures --run runs/demo --epochs 4 --log_boxes
    python -m examples.pose.understand --run runs/demo

writes into the folder `understanding` of the run. The pictures are explained in
docs/understanding.md.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from examples.pose.cli import command_line
from examples.pose.files import output_paths

if TYPE_CHECKING:
    from examples.pose.training.run_folder import RunFolder

DRAWINGS = ("boxes", "kernel", "histograms", "receptive_field")
ANIMATION = "boxes.gif"


def make_parser() -> argparse.ArgumentParser:
    """The command line of this module."""
    parser = command_line.Parser(
        prog="python -m examples.pose.understand",
        description="Draws what a box network has learned.",
    )
    parser.add_argument(
        "--run", type=command_line.name, required=True, help="folder that train wrote"
    )
    parser.add_argument(
        "--output",
        type=command_line.name,
        help="folder to write (default: the folder understanding of the run)",
    )
    parser.add_argument(
        "--layer",
        help="layer whose kernel and histograms to draw (default: the one with the largest boxes, "
        "relative to its plane)",
    )
    command_line.add_data_arguments(parser)
    return parser


def _check_outputs(run: "RunFolder", folder: Path, places) -> None:
    """Raises an `OutputPathError` if a drawing would replace a file that is read."""
    from examples.pose.inference import model_files

    names = [*(f"{name}.png" for name in DRAWINGS), ANIMATION]
    outputs = [(f"--output {folder}:", folder / name) for name in names]
    read = [*model_files.model_inputs(run.path), run.path / ANIMATION]
    output_paths.check_outputs(outputs, read)
    for name, path in outputs:
        for place in places:
            output_paths.check_not_inside(name, path, place)


def main(argv: list[str] | None = None) -> None:
    """Draws as the command line says."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    from examples.pose.datasets.skeletons import Skeleton
    from examples.pose.evaluation import accuracy, plots, understanding
    from examples.pose.files.atomic_write import atomic_write
    from examples.pose.training.run_folder import RunFolder

    run = RunFolder(arguments.run)
    config, model = run.config, run.load_model()
    understanding.choose_layer(model, arguments.layer)
    folder = Path(arguments.output or run.path / "understanding")
    try:
        command_line.new_folder(str(folder))
    except argparse.ArgumentTypeError as error:
        parser.error(f"argument --output: {error}")
    places = command_line.data_places(arguments, run.dataset, config)
    folders = (*places[:2], places[2].images)
    _check_outputs(run, folder, folders if arguments.output else ())
    photographs, _ = accuracy.read_test_photographs(
        run.dataset,
        config["image_size"],
        *places,
        Skeleton.from_metadata(config["skeleton"]),
        arguments.skip_broken,
    )
    figures = understanding.draw(model, photographs.images[: understanding.INPUTS], arguments.layer)
    for name, figure in figures.items():
        plots.write(figure, folder / f"{name}.png")
        print(f"Drawn: {folder / f'{name}.png'}")
    animation = run.path / ANIMATION
    if animation.exists():
        with atomic_write(folder / animation.name) as temporary:
            temporary.write_bytes(animation.read_bytes())
        print(f"Copied: {folder / animation.name}")


if __name__ == "__main__":
    sys.exit(command_line.run(main))
