"""Trains a pose network, with progress, curves and exact resume, and measures it at the end.

    python -m examples.pose.train --dataset stick_figures --run runs/demo
    python -m examples.pose.train --dataset lsp+lspet --data_dir DIR --run runs/lsp_box
    python -m examples.pose.train --dataset mpii+coco_keypoints --data_dir DIR --run runs/mixed

A run that was stopped or killed goes on from its last finished epoch when the same command is given
again, and ends as if nothing had happened: the batches depend on the seed and the step only.
`examples.pose.launch` runs it in several processes, and starts them again should one die. It trains
on Keras's backends TensorFlow and JAX; what one began the other can go on with.
"""

import sys

from examples.pose.cli import command_line
from examples.pose.training import training_arguments


def main(argv: list[str] | None = None) -> None:
    """Trains as the command line says."""
    config = vars(training_arguments.make_parser().parse_args(argv))
    from examples.pose.training import train_run

    train_run.train(config)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
