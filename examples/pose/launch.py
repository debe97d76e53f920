"""Trains in several processes on this machine, and starts them again should one die.

    python -m examples.pose.launch --workers 2 -- --run runs/lsp_box --dataset lsp+lspet ...

What follows `--` are the arguments of `examples.pose.train`. When a worker dies the others cannot
go on without it: all are stopped, and started again from the run's last checkpoint. On several
machines whatever starts processes there does the same: set TF_CONFIG as TensorFlow describes it,
give every process the same command with `--strategy multiworker` and a `--run` in a shared folder,
and restart all of them when one fails.
"""

import sys

from examples.pose.cli import command_line, interruption
from examples.pose.cli.errors import UserError, as_user_error


def main(argv: list[str] | None = None) -> int:
    """The command line of this module; returns its exit status."""
    parser = command_line.Parser(
        prog="python -m examples.pose.launch",
        description="Trains in several processes on this machine.",
    )
    parser.add_argument(
        "--workers", type=command_line.positive, default=2, help="number of processes"
    )
    parser.add_argument(
        "--max_restarts",
        type=command_line.not_negative,
        default=3,
        help="how often to start again without a checkpoint in between",
    )
    parser.add_argument("arguments", nargs="+", help="of examples.pose.train, after --")
    own = parser.parse_args(argv)
    from examples.pose.training import configuration, input_pipeline, launcher
    from examples.pose.training.run_folder import RunFolder

    # The workers would refuse wrong arguments as well, each of them.
    config = configuration.check_all(own.arguments)
    with as_user_error(ValueError):
        input_pipeline.part_size(config["batch_size"], own.workers)
    if config["strategy"] not in ("none", "multiworker"):
        raise UserError(f"--strategy must be multiworker here, got {config['strategy']}.")
    command = [sys.executable, "-m", "examples.pose.train", *own.arguments]
    command += ["--strategy", "multiworker"]
    kept = "The workers have ended. The same command goes on from the last finished epoch."
    with interruption.explain_stop(lambda: kept):
        return launcher.launch(RunFolder(config["run"]), own.workers, command, own.max_restarts)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
