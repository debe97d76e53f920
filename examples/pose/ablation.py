r"""Trains a network in several settings, all else alike, and compares what they find.

    python -m examples.pose.ablation context boxes --runs runs/ablation -- \
        --dataset lsp+lspet --data_dir DIR --model light --image_size 128 --epochs 8

What follows `--` are arguments of `examples.pose.train`, for all settings. Each setting is trained
once for each seed, in a run folder of its own; started again, the command goes on where it was, and
runs that are finished are not made again. The tables are printed and written to `results.md`, and a
picture of each study, `STUDY.png`, shows how the networks came there.

Several runs may go on side by side (`--jobs`), each on its own share of the processors.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import math
import os
import queue
import re
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib.figure
import rich.console
import rich.progress

from examples.pose import (
    child_processes,
    command_line,
    interruption,
    model_cost,
    plots,
    training_arguments,
)
from examples.pose.errors import UserError
from examples.pose.models.blocks import BOX_CONTEXTS
from examples.pose.run_folder import RunFolder, RunFolderError, whole_file

TRAIN = (sys.executable, "-m", "examples.pose.train")

console = rich.console.Console(highlight=False)


@dataclasses.dataclass(frozen=True)
class Setting:
    """One row of a table: a name, and the arguments of `train` that it stands for."""

    name: str
    arguments: tuple[str, ...] = ()

    @property
    def folder_name(self) -> str:
        """The name as part of a folder's."""
        return re.sub(r"[^a-z0-9]+", "_", self.name.lower()).strip("_")

    @property
    def has_boxes(self) -> bool:
        """Whether its network is one of boxes, as it is unless told otherwise."""
        given = dict(zip(self.arguments, self.arguments[1:], strict=False))
        return given.get("--context", BOX_CONTEXTS[0]) in BOX_CONTEXTS


def _wide(kind: str, kernel_size: int) -> tuple[str, ...]:
    return "--context", kind, "--kernel_size", str(kernel_size)


def _boxes_with(**options) -> tuple[str, ...]:
    return "--box_options", json.dumps(options)


def _random_boxes(**options) -> dict:
    return {"class_name": "tf_boxconv>RandomBoxes", "config": options}


# Side of the planes of `light` on images of 128 pixels, which some settings are made for.
PLANE = 32


def _boxes_in_units_of(pixels: int) -> tuple[str, ...]:
    """A unit of the stored weights is `max_size`; at first boxes are as large as ever."""
    return _boxes_with(max_size=pixels, boxes_initializer=_random_boxes(max_size=PLANE))


def _blocks(depth: int, width: int, *arguments: str) -> tuple[str, ...]:
    return "--depth", str(depth), "--width", str(width), *arguments


# The first of each study but "blocks": what all others differ from in one thing.
DEFAULT = Setting("boxes")


STUDIES: dict[str, tuple[Setting, ...]] = {
    "context": (
        DEFAULT,
        Setting("depthwise 3x3", _wide("depthwise", 3)),
        Setting("depthwise 7x7", _wide("depthwise", 7)),
        Setting("depthwise 15x15", _wide("depthwise", 15)),
        Setting("3x3 spread over 7x7", _wide("dilated", 7)),
        Setting("3x3 spread over 15x15", _wide("dilated", 15)),
        Setting("dense 3x3", _wide("dense", 3)),
        Setting("boxes alone", ("--context", "pure_box")),
    ),
    # Pairs of `light`. The kernels have no fewer parameters and multiply-adds than the boxes.
    "blocks": (
        Setting("2 blocks, boxes", _blocks(2, 160, "--context", "box", "--boxes", "2")),
        Setting("2 blocks, depthwise 7x7", _blocks(2, 184, "--context", "depthwise")),
        Setting("3 blocks, boxes", _blocks(3, 136, "--context", "box")),
        Setting("3 blocks, depthwise 7x7", _blocks(3, 128, "--context", "depthwise")),
    ),
    "boxes": (
        DEFAULT,
        *(Setting(f"{count} boxes a channel", ("--boxes", str(count))) for count in (2, 4, 8)),
    ),
    "normalization": (
        DEFAULT,
        Setting("mean over the part within the plane", _boxes_with(normalization="valid")),
        Setting("sum", _boxes_with(normalization=None)),
    ),
    "initializer": (
        DEFAULT,
        Setting(
            "boxes at first up to 12 pixels",
            _boxes_with(boxes_initializer=_random_boxes(max_size=12)),
        ),
        Setting(
            "boxes at first from 4 pixels",
            _boxes_with(boxes_initializer=_random_boxes(min_size=4)),
        ),
        Setting("boxes never moved", _boxes_with(trainable=False)),
    ),
    "coordinate_scale": (
        DEFAULT,
        Setting("coordinates in units of a quarter of the plane", _boxes_in_units_of(PLANE // 4)),
        Setting("coordinates in units of 4 planes", _boxes_in_units_of(PLANE * 4)),
    ),
    "constraint": (DEFAULT, Setting("unconstrained", _boxes_with(boxes_constraint=None))),
}


@dataclasses.dataclass(frozen=True)
class Run:
    """One training: a setting and a seed."""

    setting: Setting
    seed: int
    folder: Path

    def command(self, common: Sequence[str]) -> list[str]:
        """What trains it."""
        own = ("--run", str(self.folder), "--seed", str(self.seed))
        return [*TRAIN, *common, *own, *self.setting.arguments]


def runs_of(studies: Iterable[str], seeds: int, folder: Path) -> list[Run]:
    """The runs of some studies, those of one seed after those of another; none of them twice."""
    settings = dict.fromkeys(setting for name in studies for setting in STUDIES[name])
    return [
        Run(setting, seed, folder / setting.folder_name / f"seed{seed}")
        for seed in range(seeds)
        for setting in settings
    ]


def make_runs(runs: Sequence[Run], common: Sequence[str], jobs: int) -> None:
    """Makes the runs, `jobs` at a time, each on its share of the processors.

    Raises:
        RunFolderError: Runs failed; the message names them, and what the first one printed last.
    """
    processors = sorted(os.sched_getaffinity(0))
    shares: queue.SimpleQueue[set[int]] = queue.SimpleQueue()
    for job in range(jobs):
        shares.put(set(processors[job::jobs]) or set(processors))

    ends = threading.Event()

    def make(run: Run) -> str | None:
        share = shares.get()
        log = run.folder / "train.log"
        try:
            if ends.is_set():
                return None
            training = _start_run(run.command(common), log, share)
            if ends.is_set():  # It was started while the others were stopped.
                training.kill()
            return None if training.wait() == 0 else log.read_text(encoding="utf-8")[-2000:]
        finally:
            shares.put(share)

    failures = {}
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        made = zip(runs, pool.map(make, runs), strict=True)
        try:
            for run, failure in rich.progress.track(
                made, "training", total=len(runs), console=console, disable=not console.is_terminal
            ):
                if failure is not None:
                    failures[str(run.folder)] = failure
        except BaseException:  # a signal: trainings do not go on by themselves
            ends.set()
            child_processes.stop_all()
            raise
    if failures:
        names = ", ".join(failures)
        raise RunFolderError(
            f"{len(failures)} runs failed: {names}\n{next(iter(failures.values()))}"
        )


def _start_run(command: Sequence[str], log: Path, processors: set[int]) -> subprocess.Popen:
    """Trains in a process of its own, which prints to a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a", encoding="utf-8") as output:
        process = child_processes.start(command, stdout=output, stderr=subprocess.STDOUT)
    # Long before TensorFlow counts them.
    os.sched_setaffinity(process.pid, processors)
    return process


@dataclasses.dataclass(frozen=True)
class Result:
    """What the runs of one setting found.

    Attributes:
        pck: PCK@0.2 of each seed, in percent; NaN where no joint counted.
        parameters: Of the network.
        multiply_adds: Of the network, for one image.
        steps: The ends of the epochs that every seed has.
        progress: PCK@0.2 there on the photographs that training shows, without flip test, mean over
            the seeds.
    """

    pck: tuple[float, ...]
    parameters: int
    multiply_adds: int
    steps: tuple[int, ...]
    progress: tuple[float, ...]


def result_of(runs: Sequence[Run]) -> Result:
    """Reads the finished runs of one setting."""
    folders = [RunFolder(run.folder) for run in runs]
    model = folders[0].load_model()
    curves = [folder.curve("pck") for folder in folders]
    steps = [step for step in curves[0] if all(step in curve for curve in curves)]
    measured = [folder.metrics["pck"] for folder in folders]
    return Result(
        tuple(float("nan") if pck is None else pck for pck in measured),
        model.count_params(),
        model_cost.multiply_adds(model),
        tuple(steps),
        tuple(statistics.mean(curve[step] for curve in curves) for step in steps),
    )


def table_of(study: str, results: dict[Setting, Result]) -> list[list[str]]:
    """One study as rows of text, the headings first."""
    rows = [[study, "PCK@0.2", "lowest to highest", "parameters", "multiply-adds"]]
    for setting in STUDIES[study]:
        found = results[setting]
        # Seeds are measured on the same photographs: a joint counts for all of them or none.
        known = not math.isnan(found.pck[0])
        rows.append(
            [
                setting.name,
                f"{statistics.mean(found.pck):.1f}" if known else "-",
                f"{min(found.pck):.1f} to {max(found.pck):.1f}" if known else "-",
                f"{found.parameters:,}",
                f"{found.multiply_adds / 1e6:.1f} million",
            ]
        )
    return rows


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as a table in Markdown, numbers to the right."""
    ruler = ["---"] + ["---:"] * (len(rows[0]) - 1)
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], ruler, *rows[1:])) + "\n"


def picture_of(study: str, results: dict[Setting, Result]) -> matplotlib.figure.Figure:
    """PCK over the steps of training, of each setting; dashed where there are no boxes."""
    return plots.draw_progress(
        {s.name: (results[s].steps, results[s].progress) for s in STUDIES[study]},
        dashed=[s.name for s in STUDIES[study] if not s.has_boxes],
    )


def make_parser() -> argparse.ArgumentParser:
    """The command line of this module."""
    parser = command_line.Parser(
        prog="python -m examples.pose.ablation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("studies", nargs="+", choices=STUDIES, metavar="STUDY", help=", ".join(STUDIES))
    add(
        "--runs",
        required=True,
        type=command_line.new_folder,
        help="folder for all runs, and results.md",
    )
    add("--seeds", type=command_line.positive, default=3, help="trainings of each setting (3)")
    add("--jobs", type=command_line.positive, default=1, help="trainings at a time (1)")
    return parser


def check(settings: Iterable[Setting], common: Sequence[str]) -> None:
    """Checks the arguments of all trainings before the first one begins.

    Raises:
        UserError: They make no training, or give what this command gives.
    """
    own = ["--run", "unused"]
    given = training_arguments.make_parser().parse_args(
        [*own, *common], argparse.Namespace(seed=None)
    )
    for name, before in (("run", "unused"), ("seed", None)):
        if getattr(given, name) != before:
            raise UserError(f"`--{name}` is given by this command to each training.")
    for setting in settings:
        training_arguments.check_all([*own, *common, *setting.arguments])


def main(argv: list[str] | None = None) -> None:
    """The command `python -m examples.pose.ablation`."""
    argv = sys.argv[1:] if argv is None else list(argv)
    split = argv.index("--") if "--" in argv else len(argv)
    parser = make_parser()
    arguments, common = parser.parse_args(argv[:split]), argv[split + 1 :]
    folder = Path(arguments.runs)
    runs = runs_of(arguments.studies, arguments.seeds, folder)
    settings = list(dict.fromkeys(run.setting for run in runs))
    check(settings, common)
    kept = f"{folder} keeps what was trained; the same command goes on from there."
    with interruption.explain_stop(lambda: kept):
        make_runs(runs, common, arguments.jobs)
    results = {s: result_of([run for run in runs if run.setting == s]) for s in settings}
    tables = [markdown(table_of(study, results)) for study in arguments.studies]
    with whole_file(folder / "results.md") as temporary:
        temporary.write_text("\n".join(tables), encoding="utf-8")
    for study in arguments.studies:
        plots.write(picture_of(study, results), folder / f"{study}.png")
    console.print("\n".join(tables), markup=False)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
