"""Trains a pose network and measures it at the end.

    python -m examples.pose.train --dataset stick_figures --run runs/demo
    python -m examples.pose.train --dataset lsp+lspet --data_dir DIR --run runs/lsp_box
    python -m examples.pose.train --dataset mpii+coco_keypoints --data_dir DIR --run runs/mixed
    python -m examples.pose.train --dataset keypoints --annotations a.json --images DIR --run runs/a
    python -m examples.pose.train --init runs/lsp_box --dataset mpii --data_dir DIR --run runs/mpii

If a run is stopped or killed, the same command resumes it from the last finished epoch. The result
is the same as without the interruption, because batches depend only on the seed and the step.
`examples.pose.launch` trains in several processes. The Keras backend is TensorFlow or JAX, and a
run may be resumed on the other backend.
"""

import sys

from examples.pose.cli import command_line
from examples.pose.training import training_arguments


def main(argv: list[str] | None = None) -> None:
    """The command `python -m examples.pose.train`."""
    config, given = training_arguments.parse(argv)
    from examples.pose.training import configuration, train_run

    train_run.train(configuration.with_initial_network(config, given), given)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
