"""Trains in several processes on this machine, and starts them again should one die.

    python -m examples.pose.launch --workers 2 -- --run runs/lsp_box --dataset lsp+lspet ...

What follows `--` are the arguments of `examples.pose.train`. When a worker dies the others cannot
go on without it: all are stopped, and started again from the run's last checkpoint. On several
machines whatever starts processes there does the same: set TF_CONFIG as TensorFlow describes it,
give every process the same command with `--strategy multiworker` and a `--run` in a shared folder,
and restart all of them when one fails.
"""

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

from examples.pose import child_processes, command_line, interruption, training_arguments
from examples.pose.errors import UserError, as_user_error
from examples.pose.input_pipeline import part_size
from examples.pose.run_folder import RunFolder

POLL_SECONDS = 0.2


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("localhost", 0))
        return [each.getsockname()[1] for each in sockets]


def start_workers(count: int, command: Sequence[str]) -> list[subprocess.Popen]:
    """Starts processes of one command, each with its own `TF_CONFIG`."""
    addresses = [f"localhost:{port}" for port in free_ports(count)]
    workers = []
    for index in range(count):
        task = {"type": "worker", "index": index}
        config = {"cluster": {"worker": addresses}, "task": task}
        environment = {**os.environ, "TF_CONFIG": json.dumps(config)}
        workers.append(child_processes.start(command, env=environment))
    return workers


@contextlib.contextmanager
def running(count: int, command: Sequence[str]) -> Iterator[list[subprocess.Popen]]:
    """Workers that end with the body, however that ends."""
    with child_processes.stopped_at_end():
        yield start_workers(count, command)


def first_failure(workers: Sequence[subprocess.Popen]) -> tuple[int, int] | None:
    """Waits until all workers have succeeded (None) or one has failed: its index and status."""
    while True:
        codes = [worker.poll() for worker in workers]
        for index, code in enumerate(codes):
            if code:
                return index, code
        if None not in codes:
            return None
        time.sleep(POLL_SECONDS)


def launch(run: RunFolder, workers: int, command: Sequence[str], max_restarts: int) -> int:
    """Runs a training in several processes until it is finished.

    Args:
        run: Its folder.
        workers: Number of processes.
        command: What each of them runs.
        max_restarts: How often in a row it is started again without a new checkpoint.

    Returns:
        An exit status: 0, or that of the worker that failed first, last.
    """
    restarts = 0
    while True:
        before = _checkpoint(run)
        with running(workers, command) as processes:
            print(
                "Workers: " + ", ".join(f"{i} is process {p.pid}" for i, p in enumerate(processes)),
                flush=True,
            )
            failure = first_failure(processes)
        if failure is None:
            return 0
        index, code = failure
        progress = _checkpoint(run) != before
        restarts = 0 if progress else restarts + 1
        how = f"was ended by signal {-code}" if code < 0 else f"failed with exit status {code}"
        # A worker that refuses its arguments would refuse them again.
        hopeless = code > 0 and not progress
        if hopeless or restarts > max_restarts:
            print(f"Worker {index} {how}; not started again.", file=sys.stderr)
            return code if code > 0 else 1
        print(f"Worker {index} {how}. Starting all again from the last checkpoint.", flush=True)


def _checkpoint(run: RunFolder) -> int | None:
    """Something that differs between one checkpoint and the next."""
    return run.state_path.stat().st_mtime_ns if run.state_path.exists() else None


def main(argv: list[str] | None = None) -> int:
    """The command line of this module; returns its exit status."""
    parser = command_line.Parser(
        prog="python -m examples.pose.launch",
        description="Trains in several processes on this machine.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
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
    # The workers would refuse wrong arguments as well, each of them.
    config = training_arguments.check_all(own.arguments)
    with as_user_error(ValueError):
        part_size(config["batch_size"], own.workers)
    if config["strategy"] not in ("none", "multiworker"):
        raise UserError(f"--strategy must be multiworker here, got {config['strategy']}.")
    command = [sys.executable, "-m", "examples.pose.train", *own.arguments]
    command += ["--strategy", "multiworker"]
    kept = "The workers have ended. The same command goes on from the last finished epoch."
    with interruption.explain_stop(lambda: kept):
        return launch(RunFolder(config["run"]), own.workers, command, own.max_restarts)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
