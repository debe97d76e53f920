"""The objects of a measurement: a case is a tensor and its boxes, a candidate an operator."""

from __future__ import annotations

import dataclasses

import numpy as np

PASSES = FORWARD, FORWARD_BACKWARD = ("forward", "forward+backward")


@dataclasses.dataclass(frozen=True)
class Case:
    """A tensor and what is computed on it.

    Attributes:
        batch, height, width, channels: Shape of the input.
        multiplier: Number of boxes or filters a channel.
        dtype: Type of the input.
        data_format: Layout of the input, "channels_last" or "channels_first".
        normalization: Argument of `tf_boxconv.box_conv2d`. Rivals without boxes ignore it.
    """

    batch: int
    height: int
    width: int
    channels: int
    multiplier: int = 1
    dtype: str = "float32"
    data_format: str = "channels_last"
    normalization: str = "area"

    @property
    def elements(self) -> int:
        """Number of elements of the input."""
        return self.batch * self.height * self.width * self.channels

    @property
    def outputs(self) -> int:
        """Number of elements of the output."""
        return self.elements * self.multiplier

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the input in the case's data format."""
        if self.data_format == "channels_first":
            return self.batch, self.channels, self.height, self.width
        return self.batch, self.height, self.width, self.channels

    def __str__(self) -> str:
        text = "x".join(map(str, self.shape))
        if self.multiplier > 1:
            text += f", {self.multiplier} boxes"
        if self.dtype != "float32":
            text += f", {self.dtype}"
        if self.normalization != "area":
            text += f", {self.normalization}"
        return text if self.data_format == "channels_last" else text + ", NCHW"


@dataclasses.dataclass(frozen=True)
class Candidate:
    """An operator (a key of `rivals.RIVALS`) and the side of its kernel in pixels."""

    operator: str
    size: int | None = None

    def __str__(self) -> str:
        return self.operator if self.size is None else f"{self.operator} {self.size}"


# All times are compared with these two, so every case of every suite has them.
DEPTHWISE_3 = Candidate("depthwise", 3)
COPY = Candidate("copy")


@dataclasses.dataclass(frozen=True)
class Entry:
    """A case and the candidates that are timed on it."""

    case: Case
    candidates: tuple[Candidate, ...]


def centred_boxes(case: Case, size: int) -> np.ndarray:
    """Returns boxes `[C, M, 4]` of about `size` x `size` pixels, centred on the output pixel.

    The edges are fractional, like those of learned boxes.
    """
    half = size / 2 - 0.2
    return np.tile(np.float32([-half, -half, half, half]), (case.channels, case.multiplier, 1))


def random_boxes(case: Case, seed: int = 0) -> np.ndarray:
    """Returns boxes `[C, M, 4]` of various sizes and positions, as in a trained layer.

    Heights and widths are log-uniform between one pixel and the plane's size. The distance of the
    centre from the output pixel is log-uniform between a quarter of a pixel and a quarter of the
    plane's size.
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
    """A measurement: a candidate on a case, in one pass."""

    case: Case
    candidate: Candidate
    pass_name: str


@dataclasses.dataclass(frozen=True)
class Skipped:
    """A measurement that is not made, and the reason."""

    key: Key
    reason: str


Times = dict[Key, list[float]]  # Seconds, round by round.
