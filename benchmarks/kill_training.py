"""Kills a training at random moments, resumes it each time, and compares the final state.

    python -m benchmarks.kill_training --kills 20

Run it in the root of the repository, because it uses the tests' small training on drawn figures,
which saves every eight steps. The training runs once undisturbed. Then it runs again and is killed
(SIGKILL) at random moments, which the seed determines. Every second kill is while a file is being
written; the others are alternately while the process starts and while it trains. After each kill
the files of the run must load. At the end, all weights and the optimizer state must be equal, bit
for bit, to those of the undisturbed run.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rich.table

from benchmarks import command_line
from benchmarks.tables import console
from examples.pose.cli import child_processes, progress
from examples.pose.files.atomic_write import partial_path

STEPS = 8
TRAINING = [
    *("--steps_per_epoch", str(STEPS), "--batch_size", "4", "--ema", "0.9", "--clip_norm", "1"),
    *("--model", "full_resolution", "--image_size", "16", "--width", "4", "--depth", "1"),
]
EPOCHS_PER_KILL = 3
SAVED_FILES = ("state.npz", "model.keras")


@dataclasses.dataclass(frozen=True)
class Moment:
    """A moment to kill the process.

    Attributes:
        epochs: Number of epochs to wait for after the start of the process.
        file: The file that must be half-written at that moment, or None for any moment.
        seconds: How long to wait afterwards, at most until the next epoch is finished.
    """

    epochs: int
    file: str | None
    seconds: float

    def __str__(self) -> str:
        if self.file:
            return f"writing {self.file}, epoch {self.epochs + 1}"
        return (
            f"epoch {self.epochs + 1}" if self.epochs else f"{self.seconds:.1f} s after the start"
        )


@dataclasses.dataclass(frozen=True)
class Kill:
    """The result of one kill.

    Attributes:
        moment: The moment of the kill.
        epoch: The last finished epoch of the run.
        half_written: Files that were left half-written.
    """

    moment: Moment
    epoch: int
    half_written: tuple[str, ...]


class Training:
    """A training run that can be started, killed and resumed."""

    def __init__(self, folder: Path, epochs: int):
        from examples.pose.training.run_folder import RunFolder

        self.run = RunFolder(folder)
        command = [sys.executable, "-m", "tests.examples.pose.drawn_figures", "train"]
        self._command = [*command, "--run", str(folder), "--epochs", str(epochs), *TRAINING]

    def start(self) -> subprocess.Popen:
        """Starts or resumes the training."""
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        return child_processes.start(
            self._command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

    def finish(self) -> None:
        """Runs the training to its end."""
        process = self.start()
        _, errors = process.communicate()
        if process.returncode:
            raise RuntimeError(f"The training failed:\n{errors.decode()}")

    @property
    def epoch(self) -> int:
        """The number of finished epochs."""
        state = self.run.load_state()
        return 0 if state is None else int(state["step"]) // STEPS

    def kill(self, moment: Moment) -> Kill | None:
        """Starts the training and kills it. Returns None if it ended before the moment."""
        before = time.time_ns()
        process = self.start()
        self._wait(process, moment)
        process.kill()
        _, errors = process.communicate()
        if process.returncode > 0:
            raise RuntimeError(f"The training failed:\n{errors.decode()}")
        if process.returncode == 0:
            return None
        epoch = self.epoch  # Raises if the state is damaged.
        if self.run.model_path.exists():
            self.run.load_model()
        left = [p for p in self.run.path.glob(".partial-*") if p.stat().st_mtime_ns > before]
        return Kill(moment, epoch, tuple(path.name for path in left))

    def _wait(self, process: subprocess.Popen, moment: Moment) -> None:
        for _ in range(moment.epochs):
            before = _modified(self.run.state_path)
            while process.poll() is None and _modified(self.run.state_path) == before:
                time.sleep(1e-3)
        if moment.file:
            partial = partial_path(self.run.path / moment.file)
            before = _modified(partial)  # A previous kill may have left this file.
            while process.poll() is None and _modified(partial) in (None, before):
                pass  # A save takes a few milliseconds.
        deadline, before = time.monotonic() + moment.seconds, _modified(self.run.state_path)
        while process.poll() is None and time.monotonic() < deadline:
            if _modified(self.run.state_path) != before:
                return
            time.sleep(1e-4)


def _modified(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def draw_moments(count: int, seed: int, start_seconds: float, epoch_seconds: float) -> list[Moment]:
    """Draws the moments of the kills. Every second one is within a save."""
    rng = np.random.default_rng(seed)
    moments = []
    for number in range(count):
        epochs = int(rng.integers(1, 4))
        if number % 2 == 0:
            file = SAVED_FILES[rng.integers(len(SAVED_FILES))]
            moments.append(Moment(epochs, file, rng.uniform(0, 3e-3)))
        elif number % 4 == 1:
            moments.append(Moment(0, None, rng.uniform(0, start_seconds)))
        else:
            moments.append(Moment(epochs, None, rng.uniform(0, epoch_seconds)))
    return moments


def differences(one: Training, other: Training) -> dict[str, float]:
    """Returns the arrays that differ between two finished runs, with their largest difference."""
    states = [training.run.load_state() for training in (one, other)]
    if states[0].keys() != states[1].keys():
        raise RuntimeError("The states of the two runs have different names.")
    arrays = {name: (value, states[1][name]) for name, value in states[0].items()}
    weights = [training.run.load_model().get_weights() for training in (one, other)]
    arrays |= {f"model.keras {i}": pair for i, pair in enumerate(zip(*weights, strict=True))}
    return {
        name: float(np.max(np.abs(np.asarray(a, np.float64) - b)))
        for name, (a, b) in arrays.items()
        if not np.array_equal(a, b)
    }


def measure(folder: Path, kills: int, seed: int) -> tuple[list[Kill], dict[str, float]]:
    """Trains once undisturbed and once with kills.

    Returns:
        The kills, and the largest difference of each array that differs at the end.
    """
    epochs = EPOCHS_PER_KILL * kills
    undisturbed = Training(folder / "undisturbed", epochs)
    print(f"training {epochs} epochs without a kill", file=sys.stderr, flush=True)
    began = time.monotonic()
    process = undisturbed.start()
    while process.poll() is None and not undisturbed.run.state_path.exists():
        time.sleep(1e-2)
    start_seconds = time.monotonic() - began
    process.communicate()
    undisturbed.finish()  # Raises if the training failed.
    epoch_seconds = (time.monotonic() - began - start_seconds) / epochs
    killed = Training(folder / "killed", epochs)
    moments = draw_moments(kills, seed, start_seconds, epoch_seconds)
    made = [killed.kill(moment) for moment in progress.track(moments, "kills")]
    killed.finish()
    return [kill for kill in made if kill is not None], differences(undisturbed, killed)


def table_of(kills: list[Kill]) -> rich.table.Table:
    """Returns a table with one row per kill."""
    table = rich.table.Table(title="kills")
    for heading in ("", "moment", "finished epochs", "left half-written"):
        table.add_column(heading)
    for number, kill in enumerate(kills, 1):
        left = ", ".join(kill.half_written)
        table.add_row(str(number), str(kill.moment), str(kill.epoch), left)
    return table


def main(argv: list[str] | None = None) -> int:
    """Trains, kills and prints; returns 1 if the runs end differently."""
    parser = command_line.make_parser("kill_training", __doc__)
    add = parser.add_argument
    add("--kills", type=command_line.positive, default=20, help="number of kills")
    add("--seed", type=command_line.seed, default=0, help="seed of the moments")
    args = parser.parse_args(argv)
    command_line.print_machine()
    with tempfile.TemporaryDirectory() as folder, child_processes.stopped_at_end():
        kills, found = measure(Path(folder), args.kills, args.seed)
    console.print(table_of(kills))
    in_saves = sum(bool(kill.half_written) for kill in kills)
    console.print(
        f"seed {args.seed}: killed {len(kills)} times, {in_saves} of them within a save; resumed "
        f"each time; {len(found)} arrays differ from the undisturbed run at the end"
    )
    for name, difference in found.items():
        console.print(f"{name}: {difference:.3g}", markup=False)
    return 1 if found or len(kills) < args.kills else 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
