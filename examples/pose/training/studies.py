"""The studies that `examples.pose.ablation` runs.

Each study is a tuple of settings. All but "blocks" and "deep" compare `DEFAULT` with settings that
change one thing about it.
"""

import argparse
import dataclasses
import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from examples.pose import models

TRAIN = (sys.executable, "-m", "examples.pose.train")


@dataclasses.dataclass(frozen=True)
class Setting:
    """One row of a study's table: its name and the arguments it adds to `train`."""

    name: str
    arguments: tuple[str, ...] = ()

    @property
    def folder_name(self) -> str:
        """The name in lower case, with `_` for everything but letters and digits."""
        return re.sub(r"[^a-z0-9]+", "_", self.name.lower()).strip("_")

    @property
    def has_boxes(self) -> bool:
        """Whether the network uses boxes. It does unless `--context` says otherwise."""
        given = dict(zip(self.arguments, self.arguments[1:], strict=False))
        return models.has_boxes(given.get("--context"))


def _wide(kind: str, kernel_size: int) -> tuple[str, ...]:
    return "--context", kind, "--kernel_size", str(kernel_size)


def _boxes_with(**options) -> tuple[str, ...]:
    return "--box_options", json.dumps(options)


def _random_boxes(**options) -> dict:
    return {"class_name": "tf_boxconv>RandomBoxes", "config": options}


# Side of the planes of `light` on images of 128 pixels. Some settings assume this size.
PLANE = 32


def _boxes_in_units_of(pixels: int) -> tuple[str, ...]:
    """Arguments that store the boxes divided by `pixels`, but keep their default initial sizes.

    `max_size` sets the scale of the stored weights, and by default also the initial sizes.
    """
    return _boxes_with(max_size=pixels, boxes_initializer=_random_boxes(max_size=PLANE))


def has_assumed_planes(arguments: argparse.Namespace) -> bool:
    """Whether all planes of the network of these arguments of `train` have the side `PLANE`."""
    return arguments.model == "light" and arguments.image_size == 4 * PLANE


def _blocks(depth: int, width: int, *arguments: str) -> tuple[str, ...]:
    return "--depth", str(depth), "--width", str(width), *arguments


# First setting of the studies that do not compare pairs. The others change one thing about it.
DEFAULT = Setting("boxes")
STUDIES: dict[str, tuple[Setting, ...]] = {
    "context": (
        DEFAULT,
        Setting("depthwise 3x3", _wide("depthwise", 3)),
        Setting("depthwise 7x7", _wide("depthwise", 7)),
        Setting("depthwise 15x15", _wide("depthwise", 15)),
        Setting("dilated 3x3, rate 3", _wide("dilated", 7)),
        Setting("dilated 3x3, rate 7", _wide("dilated", 15)),
        Setting("dense 3x3", _wide("dense", 3)),
        Setting("boxes only", ("--context", "pure_box")),
    ),
    # Pairs of `light` networks: boxes against 7x7 kernels. In each pair the network with kernels
    # has at least as many parameters and multiply-adds.
    "blocks": (
        Setting("2 blocks, boxes", _blocks(2, 160, "--context", "box", "--boxes", "2")),
        Setting("2 blocks, depthwise 7x7", _blocks(2, 184, "--context", "depthwise")),
        Setting("3 blocks, boxes", _blocks(3, 136, "--context", "box")),
        Setting("3 blocks, depthwise 7x7", _blocks(3, 128, "--context", "depthwise")),
    ),
    # More such pairs. These networks see most of the image even with kernels.
    "deep": (
        Setting("4 blocks, boxes", _blocks(4, 128, "--context", "box")),
        Setting("4 blocks, depthwise 7x7", _blocks(4, 120, "--context", "depthwise")),
        Setting("U-Net, boxes", ("--model", "u_net", "--width", "32", "--context", "box")),
        Setting(
            "U-Net, depthwise 7x7", ("--model", "u_net", "--width", "31", "--context", "depthwise")
        ),
    ),
    "boxes": (
        DEFAULT,
        *(Setting(f"{count} boxes per channel", ("--boxes", str(count))) for count in (2, 4, 8)),
    ),
    "normalization": (
        DEFAULT,
        Setting("valid", _boxes_with(normalization="valid")),
        Setting("sum", _boxes_with(normalization=None)),
    ),
    "initializer": (
        DEFAULT,
        Setting(
            "initial boxes up to 12 pixels",
            _boxes_with(boxes_initializer=_random_boxes(max_size=12)),
        ),
        Setting(
            "initial boxes from 4 pixels",
            _boxes_with(boxes_initializer=_random_boxes(min_size=4)),
        ),
        Setting("fixed boxes", _boxes_with(trainable=False)),
    ),
    "coordinate_scale": (
        DEFAULT,
        Setting("unit: a quarter of the plane", _boxes_in_units_of(PLANE // 4)),
        Setting("unit: 4 planes", _boxes_in_units_of(PLANE * 4)),
    ),
    "constraint": (DEFAULT, Setting("unconstrained", _boxes_with(boxes_constraint=None))),
    # Each setting changes one thing about the network, the training images or the optimizer.
    "recipe": (
        DEFAULT,
        Setting("twice the width", ("--width", "128")),
        Setting("twice the blocks", ("--depth", "4")),
        Setting("2 stages of 2 blocks", ("--depth", "4", "--stages", "2")),
        Setting("images of 96x96 pixels", ("--image_size", "96")),
        Setting("images of 160x160 pixels", ("--image_size", "160")),
        Setting("half the augmentation", ("--augmentation", "0.5")),
        Setting("no augmentation but mirroring", ("--augmentation", "0")),
        Setting("half the learning rate", ("--learning_rate", "1e-3")),
        Setting("twice the learning rate", ("--learning_rate", "4e-3")),
        # As many images as 250 steps of 16.
        Setting("batches of 8", ("--batch_size", "8", "--steps_per_epoch", "500")),
        Setting("no average of the weights", ("--ema", "0")),
        Setting("no limit for the gradient", ("--clip_norm", "0")),
        Setting("weight decay 0.01", ("--weight_decay", "0.01")),
        Setting("lsp alone", ("--dataset", "lsp")),
    ),
}


@dataclasses.dataclass(frozen=True)
class Run:
    """One training run: a setting, a seed, and the run folder it writes."""

    setting: Setting
    seed: int
    folder: Path

    def command(self, common: Sequence[str]) -> list[str]:
        """The command line that trains this run.

        Args:
            common: Arguments of `train` that all runs of the study share.
        """
        own = ("--run", str(self.folder), "--seed", str(self.seed))
        return [*TRAIN, *common, *own, *self.setting.arguments]


def runs_of(studies: Iterable[str], seeds: int, folder: Path) -> list[Run]:
    """Returns the runs of studies: all settings with seed 0, then all with seed 1, and so on.

    A setting that several studies share appears once for each seed.
    """
    settings = dict.fromkeys(setting for name in studies for setting in STUDIES[name])
    return [
        Run(setting, seed, folder / setting.folder_name / f"seed{seed}")
        for seed in range(seeds)
        for setting in settings
    ]
