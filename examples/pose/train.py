"""Trains a pose network and measures it at the end.

    python -m examples.pose.train --dataset stick_figures --run runs/demo
    python -m examples.pose.train --dataset lsp+lspet --data_dir DIR --run runs/lsp_box
    python -m examples.pose.train --dataset mpii+coco_keypoints --data_dir DIR --run runs/mixed

The same command again resumes a run that was stopped or killed from its last finished epoch. The
result is that of an uninterrupted run, because batches depend on the seed and the step only.
`examples.pose.launch` trains in several processes. Keras may run on TensorFlow or JAX, and a run
may be resumed on the other backend.
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
