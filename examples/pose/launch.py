"""Trains in several processes on this machine, and restarts them if one dies.

    python -m examples.pose.launch --workers 2 -- --run runs/lsp_box --dataset lsp+lspet ...

The arguments after `--` are passed to `examples.pose.train`. If a worker dies, the others cannot
continue: all are stopped and restarted from the last checkpoint. On several machines, use a process
manager: set TF_CONFIG as TensorFlow describes it, run the same command in every process, with
`--strategy multiworker` and `--run` in a shared folder, and restart all of them if one fails.
"""

import sys

from examples.pose.cli import command_line, interruption
from examples.pose.cli.errors import UserError, as_user_error


def main(argv: list[str] | None = None) -> int:
    """The command `python -m examples.pose.launch`; returns its exit status."""
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
        help="give up after this many restarts in a row without a new checkpoint",
    )
    parser.add_argument("arguments", nargs="+", help="arguments of examples.pose.train, after --")
    options = parser.parse_args(argv)
    from examples.pose.training import configuration, input_pipeline, launcher
    from examples.pose.training.run_folder import RunFolder

    # Checked here, so that an error is reported once and not by every worker.
    config = configuration.check_all(options.arguments)
    with as_user_error(ValueError):
        input_pipeline.part_size(config["batch_size"], options.workers)
    if config["strategy"] not in ("none", "multiworker"):
        raise UserError(f"--strategy must be multiworker here, got {config['strategy']}.")
    run = RunFolder(config["run"])
    configuration.check_minutes(config, run)
    command = [sys.executable, "-m", "examples.pose.train", *options.arguments]
    command += ["--strategy", "multiworker"]
    message = "The workers have ended. The same command goes on from the last finished epoch."
    with interruption.explain_stop(lambda: message):
        return launcher.launch(run, options.workers, command, options.max_restarts)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
