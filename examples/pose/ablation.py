"""Trains a network in several settings, all else alike, and compares what they find.

    python -m examples.pose.ablation context boxes --runs runs/ablation -- \\
        --dataset lsp+lspet --data_dir DIR --model light --image_size 128 --epochs 8

What follows `--` are arguments of `examples.pose.train`, for all settings. Each setting is trained
once for each seed, in a run folder of its own; started again, the command goes on where it was, and
runs that are finished are not made again. The tables are printed and written to `results.md`.

Several runs may go on side by side (`--jobs`), each on its own share of the processors.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import os
import queue
import re
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import rich.console
import rich.markup
import rich.progress

from examples.pose import command_line, model_cost, train
from examples.pose.run_folder import RunFolder, RunFolderError, whole_file

TRAIN = (sys.executable, "-m", "examples.pose.train")
OWN_ARGUMENTS = ("--run", "--seed")  # Of `train`; this command gives them.

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


def _wide(kind: str, kernel_size: int) -> tuple[str, ...]:
    return "--context", kind, "--kernel_size", str(kernel_size)


def _boxes_with(**options) -> tuple[str, ...]:
    return "--box_options", json.dumps(options)


def _random_boxes(**options) -> dict:
    return {"class_name": "tf_boxconv>RandomBoxes", "config": options}


# The first of each study: what all others differ from in one thing.
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
        Setting("at first 8 pixels or less", _boxes_with(boxes_initializer=_random_boxes(max_size=12))),
        Setting("at first 4 pixels or more", _boxes_with(boxes_initializer=_random_boxes(min_size=4))),
        Setting("never moved", _boxes_with(trainable=False)),
    ),
    "constraint": (DEFAULT, Setting("unconstrained", _boxes_with(boxes_constraint=None))),
}
