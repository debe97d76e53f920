"""What is measured: a case is a tensor with its boxes, a candidate an operator of some size."""

from __future__ import annotations

import dataclasses

import numpy as np

PASSES = FORWARD, FORWARD_BACKWARD = ("forward", "forward+backward")


@dataclasses.dataclass(frozen=True)
class Case:
    """A tensor and how many boxes or filters each of its channels has.

    Sizes are named, so that they mean the same in both data formats.
    """

    batch: int
    height: int
    width: int
    channels: int
    multiplier: int = 1
    dtype: str = "float32"
    data_format: str = "channels_last"

    @property
    def elements(self) -> int:
        """Elements of the input."""
        return self.batch * self.height * self.width * self.channels

    @property
    def outputs(self) -> int:
        """Elements of the output."""
        return self.elements * self.multiplier

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The input's shape in the case's data format."""
        if self.data_format == "channels_first":
            return self.batch, self.channels, self.height, self.width
        return self.batch, self.height, self.width, self.channels

    def __str__(self) -> str:
        text = "x".join(map(str, self.shape))
        if self.multiplier > 1:
            text += f", {self.multiplier} boxes"
        if self.dtype != "float32":
            text += f", {self.dtype}"
        return text if self.data_format == "channels_last" else text + ", NCHW"


@dataclasses.dataclass(frozen=True)
class Candidate:
    """An operator, by its name in `rivals.RIVALS`, and the side of its kernel in pixels."""

    operator: str
    size: int | None = None

    def __str__(self) -> str:
        return self.operator if self.size is None else f"{self.operator} {self.size}"


# What all times are compared with; every case of every suite has them.
DEPTHWISE_3 = Candidate("depthwise", 3)
COPY = Candidate("copy")


@dataclasses.dataclass(frozen=True)
class Entry:
    """A case and the candidates that are timed on it."""

    case: Case
    candidates: tuple[Candidate, ...]


def centred_boxes(case: Case, size: int) -> np.ndarray:
    """`[C, M, 4]`: boxes of about `size` pixels around the output pixel.

    Their edges are fractional: nobody's learned boxes end on pixel borders.
    """
    half = size / 2 - 0.2
    return np.tile(np.float32([-half, -half, half, half]), (case.channels, case.multiplier, 1))


def random_boxes(case: Case, seed: int = 0) -> np.ndarray:
    """`[C, M, 4]`: what a trained layer looks like, every box of another size and elsewhere.

    Heights and widths are log-uniform from one pixel to the plane, distances of the centre from
    the output pixel log-uniform from a quarter of a pixel to a quarter of the plane.
    """
    rng = np.random.default_rng(seed)
    shape = (case.channels, case.multiplier, 2)
    plane = np.array([case.height, case.width], np.float64)
    extent = plane ** rng.uniform(size=shape)
    distance = 0.25 * plane ** rng.uniform(size=shape)
    centre = distance * rng.choice([-1, 1], size=shape)
    return np.concatenate([centre - extent / 2, centre + extent / 2], axis=-1).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Key:
    """What is timed."""

    case: Case
    candidate: Candidate
    pass_name: str


@dataclasses.dataclass(frozen=True)
class Skipped:
    """What is not timed, and why."""

    key: Key
    reason: str


Times = dict[Key, list[float]]  # Seconds, round by round.
