"""Named sets of cases, each of which answers one question."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from benchmarks.cases import COPY, DEPTHWISE_3, Candidate, Case, Entry

SIZES = (1, 3, 7, 15, 31, 63, 127)
DIRECT_SIZES = (3, 7, 15, 31, 63)  # for operators whose cost grows with the area
PLANES = (16, 32, 64, 128, 256, 512, 1024, 2048)
CHANNELS = (1, 2, 3, 4, 8, 16, 32, 64, 128, 256, 512)
STANDARD = Case(4, 64, 64, 64)
# The project's budgets use these shapes.
LARGER_THAN_CACHE = Case(32, 64, 64, 64)
OTHER_SHAPES = (
    Case(1, 2048, 2048, 8),
    Case(32, 16, 16, 256),
    Case(8, 56, 56, 96, multiplier=4),
)
LARGE_PLANES = tuple(
    Case(1, side, side, channels)
    for side, channels in ((256, 64), (512, 16), (1024, 8), (2048, 4), (4096, 1))
)
NAMED_SHAPES = (STANDARD, LARGER_THAN_CACHE, *OTHER_SHAPES)

_FEW = (
    Candidate("box", 31),
    Candidate("box, random"),
    DEPTHWISE_3,
    Candidate("OpenCV boxFilter", 31),
    Candidate("OpenCV integral"),
    COPY,
)


# Functions instead of lambdas, because suites are pickled.
def size_of(case: Case, candidate: Candidate) -> int | None:
    """The kernel size."""
    return candidate.size


def plane_of(case: Case, candidate: Candidate) -> int | None:
    """The side of the plane."""
    return case.height


def channels_of(case: Case, candidate: Candidate) -> int | None:
    """The number of channels."""
    return case.channels


def multiplier_of(case: Case, candidate: Candidate) -> int | None:
    """The number of boxes per channel."""
    return case.multiplier


def operator_of(case: Case, candidate: Candidate) -> str | None:
    """The operator, whatever its size."""
    return candidate.operator


def candidate_of(case: Case, candidate: Candidate) -> str | None:
    """The operator and its size, whatever the case."""
    return str(candidate)


def operator_and_plane_of(case: Case, candidate: Candidate) -> str | None:
    """The operator and the plane, without the baselines that each case needs for its ratios."""
    if candidate == COPY or (candidate == DEPTHWISE_3 and case != STANDARD):
        return None
    return f"{candidate.operator} on {case.height}x{case.width}"


@dataclasses.dataclass(frozen=True)
class Suite:
    """Cases that are timed in the same rounds and drawn in one plot.

    Attributes:
        title: Title of the plot.
        entries: The cases and candidates.
        axis_label: Label of the horizontal axis. Empty if the cases themselves are the axis.
        axis: Position of a candidate and case on the horizontal axis. If it returns `None`, a
            horizontal line is drawn. `None` if the cases themselves are the axis.
        line: Name of the line to which a candidate and case belong. If it returns `None`, they
            are not drawn. Not used if the cases themselves are the axis.
    """

    title: str
    entries: tuple[Entry, ...]
    axis_label: str = ""
    axis: Callable[[Case, Candidate], int | None] | None = None
    line: Callable[[Case, Candidate], str | None] = candidate_of


def _of(operator: str, sizes: tuple[int, ...]) -> tuple[Candidate, ...]:
    return tuple(Candidate(operator, size) for size in sizes)


def _boxes_up_to(side: int) -> tuple[Candidate, ...]:
    """Returns boxes of 1, 3, 7, 15 ... pixels, the largest about as large as the plane."""
    return _of("box", tuple(2**i - 1 for i in range(1, side.bit_length())))


def _with(candidates: tuple[Candidate, ...], cases) -> tuple[Entry, ...]:
    return tuple(Entry(case, candidates) for case in cases)


SUITES: dict[str, Suite] = {
    "sizes": Suite(
        "time against kernel size",
        _with(
            (
                *_of("box", SIZES),
                Candidate("box, random"),
                *_of("depthwise", DIRECT_SIZES),
                *_of("average pool", DIRECT_SIZES),
                *_of("portable", (3, 31, 127)),
                *_of("cumsum+gather", (3, 31, 127)),
                *_of("OpenCV boxFilter", SIZES[1:]),
                Candidate("OpenCV integral"),
                COPY,
            ),
            [STANDARD],
        ),
        "kernel size in pixels",
        size_of,
        operator_of,
    ),
    # Drawn in docs/images/time_against_kernel_size.png.
    "sizes_and_planes": Suite(
        "time of an output against kernel size",
        (
            Entry(
                STANDARD,
                (
                    *_boxes_up_to(STANDARD.height),
                    *_of("depthwise", DIRECT_SIZES[:-1]),
                    *_of("portable", (3, 31, 63)),
                    COPY,
                ),
            ),
            *(
                Entry(case, (*_boxes_up_to(case.height), DEPTHWISE_3, COPY))
                for case in LARGE_PLANES
                if case.height in (512, 2048)
            ),
        ),
        "kernel size in pixels",
        size_of,
        operator_and_plane_of,
    ),
    "planes": Suite(
        "square planes from 16 to 2048 pixels, equal number of elements",
        _with(_FEW, (Case((2048 // p) ** 2, p, p, 8) for p in PLANES)),
        "side of the plane in pixels",
        plane_of,
    ),
    "channels": Suite(
        "1 to 512 channels, about equal number of elements",
        _with(_FEW, (Case(max(1, 256 // c), 64, 64, c) for c in CHANNELS)),
        "channels",
        channels_of,
    ),
    "boxes": Suite(
        "1 to 8 boxes or filters a channel",
        _with(
            (Candidate("box", 31), Candidate("box, random"), DEPTHWISE_3, COPY),
            (dataclasses.replace(STANDARD, multiplier=m) for m in (1, 2, 4, 8)),
        ),
        "boxes or filters a channel",
        multiplier_of,
    ),
    "shapes": Suite(
        "the shapes of the budgets",
        _with(
            (
                Candidate("box", 31),
                Candidate("box, random"),
                *_of("depthwise", (3, 7)),
                Candidate("portable", 31),
                COPY,
            ),
            NAMED_SHAPES,
        ),
    ),
    "dtypes": Suite(
        "dtypes and data formats",
        _with(
            (Candidate("box", 31), Candidate("box, random"), DEPTHWISE_3, COPY),
            (
                dataclasses.replace(STANDARD, dtype=dtype, data_format=data_format)
                for data_format in ("channels_last", "channels_first")
                for dtype in ("float16", "bfloat16", "float32", "float64")
            ),
        ),
    ),
}
