"""The studies of `examples.pose.ablation`: settings of a network that differ in one thing each."""

import dataclasses
import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from examples.pose.models import BOX_CONTEXTS

TRAIN = (sys.executable, "-m", "examples.pose.train")


@dataclasses.dataclass(frozen=True)
class Setting:
    """One row of a study: a name and the arguments of `train` that it adds."""

    name: str
    arguments: tuple[str, ...] = ()

    @property
    def folder_name(self) -> str:
        """The name in a form for folder names."""
        return re.sub(r"[^a-z0-9]+", "_", self.name.lower()).strip("_")

    @property
    def has_boxes(self) -> bool:
        """Whether the network has boxes, which is the default."""
        given = dict(zip(self.arguments, self.arguments[1:], strict=False))
        return given.get("--context", BOX_CONTEXTS[0]) in BOX_CONTEXTS


def _wide(kind: str, kernel_size: int) -> tuple[str, ...]:
    return "--context", kind, "--kernel_size", str(kernel_size)


def _boxes_with(**options) -> tuple[str, ...]:
    return "--box_options", json.dumps(options)


def _random_boxes(**options) -> dict:
    return {"class_name": "tf_boxconv>RandomBoxes", "config": options}


# Side of the planes of `light` on images of 128 pixels, for which some settings are designed.
PLANE = 32


def _boxes_in_units_of(pixels: int) -> tuple[str, ...]:
    """Sets `max_size`, the unit of the stored weights; the initial boxes stay the same."""
    return _boxes_with(max_size=pixels, boxes_initializer=_random_boxes(max_size=PLANE))


def _blocks(depth: int, width: int, *arguments: str) -> tuple[str, ...]:
    return "--depth", str(depth), "--width", str(width), *arguments


# The reference setting of each study except "blocks". All others differ from it in one thing.
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
    # Pairs of `light`. The kernels have at least as many parameters and multiply-adds as the boxes.
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
        """The command line that trains it."""
        own = ("--run", str(self.folder), "--seed", str(self.seed))
        return [*TRAIN, *common, *own, *self.setting.arguments]


def runs_of(studies: Iterable[str], seeds: int, folder: Path) -> list[Run]:
    """The runs of some studies without duplicates, ordered by seed."""
    settings = dict.fromkeys(setting for name in studies for setting in STUDIES[name])
    return [
        Run(setting, seed, folder / setting.folder_name / f"seed{seed}")
        for seed in range(seeds)
        for setting in settings
    ]
