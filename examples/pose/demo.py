"""Trains a network on generated pictures, evaluates it, draws its predictions and exports it.

    python -m examples.pose.demo --run runs/demo

Each step is a command of this folder, and is printed before it runs. The same command again resumes
a demo that was stopped.
"""

import os
import shlex
import sys
import time
from pathlib import Path

import rich.console

from examples.pose.cli import child_processes, command_line, interruption
from examples.pose.cli.errors import UserError

DATASET = "stick_figures"
TRAINING = ["--epochs", "4"]  # About 5 minutes on 2 CPU cores.
SHORT_TRAINING = ["--epochs", "1", "--steps_per_epoch", "30"]  # About one minute.

console = rich.console.Console(highlight=False)


def demo_steps(run: Path, short: bool) -> list[tuple[str, list[str]]]:
    """Returns the demo's commands.

    Args:
        run: The run folder. Outside of it, only the prepared data set is written.
        short: Whether to train for about a minute only.

    Returns:
        For each command its title, and the module of `examples.pose` with its arguments.
    """
    training = SHORT_TRAINING if short else TRAINING
    folder = ["--run", str(run)]
    data = ["--dataset", DATASET]
    return [
        ("Train a pose network of box convolutions", ["train", *folder, *data, *training]),
        ("Measure it on pictures it has not seen", ["evaluate", *folder, *data]),
        (
            "Draw predictions beside the truth",
            ["predict", "--model", str(run), *data, "--output", str(run / "predictions.png")],
        ),
        (
            "Export it, and load the export in a fresh process",
            ["export", *folder, "--output", str(export_folder(run)), "--overwrite"],
        ),
    ]


def export_folder(run: Path) -> Path:
    """The folder of the export: a model and a version, as model servers expect."""
    return run / "exported" / "pose" / "1"


def run_step(title: str, module_and_arguments: list[str]) -> float:
    """Runs a command and returns the seconds it took.

    Raises:
        UserError: The command failed; it has printed the reason.
    """
    module, *arguments = module_and_arguments
    console.print()
    console.rule(f"[bold]{title}", align="left")
    printed = shlex.join(["python", "-m", f"examples.pose.{module}", *arguments])
    console.print(printed + "\n", style="dim", markup=False, soft_wrap=True)
    start = time.monotonic()
    command = [sys.executable, "-m", f"examples.pose.{module}", *arguments]
    with child_processes.stopped_at_end():
        status = child_processes.start(command).wait()
    if status:
        raise UserError(f"`{printed}` failed with exit status {status}.")
    return time.monotonic() - start


def print_summary(run: Path, times: dict[str, float]) -> None:
    """Prints the files that were written, the time, and commands to try next."""
    console.print()
    console.rule("[bold]Done", align="left")
    for description, path in [
        ("predictions beside the truth", run / "predictions.png"),
        ("the trained model", run / "model.keras"),
        ("its measured accuracy", run / "metrics.json"),
        ("the exported model", export_folder(run)),
        ("the training curves", run / "logs"),
    ]:
        console.print(f"{description:<30}{path}", markup=False, soft_wrap=True)
    spent = ", ".join(f"{module} {seconds:.0f} s" for module, seconds in times.items())
    console.print(f"\nTime: {spent}; {sum(times.values()) / 60:.1f} minutes in all.")
    python = os.path.relpath(sys.executable)
    console.print(
        "\nNext, a photo of your own, or the training curves:\n"
        f"  {python} -m examples.pose.predict --model {run} PHOTO.jpg --output pose.png\n"
        f"  {python} -m tensorboard.main --logdir {run / 'logs'}",
        markup=False,
        soft_wrap=True,
    )


def main(argv=None) -> None:
    """The command `python -m examples.pose.demo`."""
    parser = command_line.Parser(
        prog="python -m examples.pose.demo",
        description="Train a pose network on generated pictures, evaluate it, draw its "
        "predictions and export it. Needs no download.",
    )
    parser.add_argument(
        "--run",
        type=command_line.new_folder,
        default="runs/demo",
        help="folder for everything that the demo writes, except the prepared data set",
    )
    parser.add_argument("--short", action="store_true", help="train for a minute only")
    arguments = parser.parse_args(argv)
    from examples.pose.inference import model_files

    model_files.require_tensorflow_backend()  # Of the last steps. They would fail after minutes.
    run = Path(arguments.run)
    with interruption.explain_stop(lambda: "The same command goes on from here."):
        times = {
            command[0]: run_step(title, command)
            for title, command in demo_steps(run, arguments.short)
        }
    print_summary(run, times)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
