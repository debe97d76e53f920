"""Draws what a box network has learned: boxes, kernels, sizes, its effective receptive field.

    python -m examples.pose.train --dataset stick_figures --run runs/demo --epochs 4 --log_boxes
    python -m examples.pose.understand --run runs/demo

writes into the folder `understanding` of the run. The pictures are explained in
docs/understanding.md.
"""

import argparse
import sys
from pathlib import Path

import keras
import matplotlib.figure
import numpy as np

from examples.pose import command_line, evaluate, model_files, output_paths, plots
from examples.pose.datasets import Skeleton
from examples.pose.run_folder import RunFolder, RunFolderError, whole_file
from tf_boxconv import description, visualize
from tf_boxconv.layers.base_box_conv import BaseBoxConv2D
from tf_boxconv.visualize import drawing

INPUTS = 64  # Photographs that the receptive field is averaged over.
COLUMNS = 4
DRAWINGS = ("boxes", "kernel", "histograms", "receptive_field")
ANIMATION = "boxes.gif"


def draw_all_boxes(box_layers: list[BaseBoxConv2D]) -> matplotlib.figure.Figure:
    """One page with the boxes of every layer, darker where what mixes them weighs them more."""
    rows = -(-len(box_layers) // COLUMNS)
    figure = drawing.new_figure(3.0 * COLUMNS, 3.2 * rows)
    grid = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axes, layer in zip(grid, box_layers, strict=False):
        drawing.draw_boxes_into(
            axes,
            drawing.boxes_array(layer),
            drawing.plane_size(layer),
            drawing.box_weights(layer),
        )
        axes.set_title(layer.name, fontsize=9)
        axes.set_xlabel("")
    for axes in grid[len(box_layers) :]:
        axes.set_axis_off()
    return figure


def strongest_filter(mixing: np.ndarray) -> int:
    """The filter that weighs boxes most."""
    return int(np.argmax(np.linalg.norm(mixing, axis=0)))


def draw_strongest_kernel(layer: BaseBoxConv2D) -> matplotlib.figure.Figure:
    """The kernel of the filter that weighs a layer's boxes most."""
    mixing = visualize.mixing_weights(layer)
    if mixing is None:
        raise RunFolderError(f"Nothing mixes the boxes of layer {layer.name!r}.")
    index = strongest_filter(mixing)
    figure = visualize.draw_kernel(visualize.effective_kernel(layer, index, mixing))
    figure.axes[0].set_title(f"{layer.name}, filter {index}", fontsize=9)
    return figure


def draw(
    model: keras.Model, images: np.ndarray, layer_name: str | None = None
) -> dict[str, matplotlib.figure.Figure]:
    """Draws everything there is to see of a model.

    Args:
        model: A pose network with box layers.
        images: `[n, S, S, 3]`, values 0 to 255, to measure the receptive field on.
        layer_name: The layer to show the kernel and the histograms of; None takes the one whose
            boxes are largest beside their plane.

    Returns:
        Figures by the names of their files.

    Raises:
        RunFolderError: The model has no box layers, or none of this name.
    """
    box_layers, layer = choose_layer(model, layer_name)
    histograms = visualize.draw_histograms(layer)
    histograms.suptitle(layer.name, fontsize=10)
    field = visualize.effective_receptive_field(
        model, images.astype(np.float32), data_format="channels_last"
    )
    figures = (
        draw_all_boxes(box_layers),
        draw_strongest_kernel(layer),
        histograms,
        visualize.draw_receptive_field(field),
    )
    return dict(zip(DRAWINGS, figures, strict=True))


def choose_layer(model: keras.Model, name: str | None) -> tuple[list[BaseBoxConv2D], BaseBoxConv2D]:
    """All box layers, and the one of this name, or the one whose boxes are largest.

    Raises:
        RunFolderError: The model has no box layers, or none of this name.
    """
    box_layers = list(description.box_layers(model))
    names = [layer.name for layer in box_layers]
    if not box_layers:
        raise RunFolderError(f"The model {model.name!r} has no box layers.")
    if name is None:
        return box_layers, max(box_layers, key=_relative_size)
    if name not in names:
        raise RunFolderError(f"--layer must be one of {', '.join(names)}, got {name}.")
    return box_layers, box_layers[names.index(name)]


def _relative_size(layer: BaseBoxConv2D) -> float:
    return float(np.mean(visualize.box_sizes(layer) / drawing.plane_size(layer)))


def make_parser() -> argparse.ArgumentParser:
    """The command line of this module."""
    parser = command_line.Parser(
        prog="python -m examples.pose.understand",
        description="Draws what a box network has learned.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--run", required=True, help="folder that train wrote")
    parser.add_argument("--output", help="folder to write; None means understanding/ in the run")
    parser.add_argument("--layer", help="layer to show kernel and histograms of; None chooses one")
    command_line.add_data_arguments(parser)
    return parser


def _check_outputs(run: RunFolder, folder: Path, places) -> None:
    """Raises an `OutputPathError` if a drawing would replace what is read."""
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
    run = RunFolder(arguments.run)
    config, model = run.config, run.load_model()
    choose_layer(model, arguments.layer)
    folder = Path(arguments.output) if arguments.output else run.path / "understanding"
    try:
        command_line.new_folder(str(folder))
    except argparse.ArgumentTypeError as error:
        parser.error(f"argument --output: {error}")
    places = command_line.data_places(arguments, config)
    _check_outputs(run, folder, places if arguments.output else ())
    photographs, _ = evaluate.read_test_photographs(
        run.dataset,
        config["image_size"],
        *places,
        Skeleton.from_metadata(config["skeleton"]),
    )
    figures = draw(model, photographs.images[:INPUTS], arguments.layer)
    for name, figure in figures.items():
        plots.write(figure, folder / f"{name}.png")
        print(f"Drawn: {folder / f'{name}.png'}")
    animation = run.path / ANIMATION
    if animation.exists():
        with whole_file(folder / animation.name) as temporary:
            temporary.write_bytes(animation.read_bytes())
        print(f"Copied: {folder / animation.name}")


if __name__ == "__main__":
    sys.exit(command_line.run(main))
