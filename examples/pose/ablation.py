r"""Trains a network in several settings that differ in one thing, and compares the results.

    python -m examples.pose.ablation context boxes --runs runs/ablation -- \
        --dataset lsp+lspet --data_dir DIR --model light --image_size 128 --epochs 8

The arguments after `--` are passed to `examples.pose.train` for all settings. Each setting is
trained once for each seed, in a run folder of its own. Started again, the command resumes: finished
runs are kept. The table of each study is printed and written to `STUDY.md`; `STUDY.png` shows the
accuracy of each setting during training.

`--jobs` trains several runs at a time, each on its own share of the processors.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import rich.console

from examples.pose import models
from examples.pose.cli import command_line, interruption
from examples.pose.cli.errors import UserError
from examples.pose.files.atomic_write import atomic_write
from examples.pose.training import training_arguments
from examples.pose.training.studies import STUDIES, Run, Setting, has_assumed_planes, runs_of

console = rich.console.Console(highlight=False)


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser of `examples.pose.ablation`."""
    parser = command_line.Parser(
        prog="python -m examples.pose.ablation",
        description=__doc__,
    )
    add = parser.add_argument
    add("studies", nargs="+", choices=STUDIES, metavar="STUDY", help=", ".join(STUDIES))
    add(
        "--runs",
        required=True,
        type=command_line.new_folder,
        help="folder for all runs, tables and plots",
    )
    add(
        "--seeds", type=command_line.positive, default=3, help="number of trainings of each setting"
    )
    add("--jobs", type=command_line.positive, default=1, help="number of trainings at a time")
    return parser


def check(settings: Iterable[Setting], common: Sequence[str]) -> argparse.Namespace:
    """Checks the arguments of all trainings before the first one starts.

    Returns them as parsed, without those of the settings.

    Args:
        settings: The settings to train.
        common: Arguments of `train` for all settings, given by the user.

    Raises:
        UserError: Arguments are invalid, or `common` has an option that this command or a setting
            sets.
    """
    from examples.pose.training import configuration

    # `train` requires --run. These values change if the user's arguments contain the option.
    placeholders = {"run": "unused", "seed": None}
    run_argument = ["--run", "unused"]
    parsed = training_arguments.make_parser().parse_args(
        [*run_argument, *common], argparse.Namespace(seed=placeholders["seed"])
    )
    for name, placeholder in placeholders.items():
        if getattr(parsed, name) != placeholder:
            raise UserError(f"`--{name}` is set by this command for each training.")
    for name in ("context", *models.CONTEXT_ARGUMENTS):
        if getattr(parsed, name) is not None:
            raise UserError(f"`--{name}` is set by the settings of the studies.")
    for setting in settings:
        config = configuration.check_all([*run_argument, *common, *setting.arguments])
        if setting.has_boxes != models.has_boxes(config["context"]):
            raise UserError(f"The setting {setting.name!r} is for networks with boxes.")
    return parsed


def check_lengths(runs: Iterable[Run], epochs: int) -> None:
    """Raises a `UserError` if a finished run has another number of epochs.

    `train` would extend it, and the table would compare it with runs that were not extended.
    """
    from examples.pose.training.run_folder import RunFolder

    for run in runs:
        folder = RunFolder(run.folder)
        if folder.metrics is not None and folder.config.get("epochs") != epochs:
            raise UserError(
                f"{folder.path} is finished, with `--epochs {folder.config.get('epochs')}`. Give "
                "the same number, or another --runs."
            )


def main(argv: list[str] | None = None) -> None:
    """The command `python -m examples.pose.ablation`."""
    argv = sys.argv[1:] if argv is None else list(argv)
    split = argv.index("--") if "--" in argv else len(argv)
    parser = make_parser()
    arguments, common = parser.parse_args(argv[:split]), argv[split + 1 :]
    from examples.pose.evaluation import plots, study_results
    from examples.pose.training import parallel_runs

    folder = Path(arguments.runs)
    runs = runs_of(arguments.studies, arguments.seeds, folder)
    settings = list(dict.fromkeys(run.setting for run in runs))
    parsed = check(settings, common)
    if "coordinate_scale" in arguments.studies and not has_assumed_planes(parsed):
        raise UserError(
            "The study coordinate_scale needs `--model light` and `--image_size 128`, because its "
            "settings are written for planes of 32x32 pixels."
        )
    if parsed.minutes is None:
        check_lengths(runs, parsed.epochs)
    message = f"{folder} keeps the finished epochs; the same command goes on from there."
    with interruption.explain_stop(lambda: message):
        parallel_runs.make_runs(runs, common, arguments.jobs)
    results = {
        s: study_results.result_of([run for run in runs if run.setting == s]) for s in settings
    }
    for study in arguments.studies:
        table = study_results.markdown(study_results.table_of(study, results))
        with atomic_write(folder / f"{study}.md") as temporary:
            temporary.write_text(table, encoding="utf-8")
        plots.write(study_results.picture_of(study, results), folder / f"{study}.png")
        console.print(table, markup=False)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
