"""Makes deliberate mistakes in a copy of the CUDA kernels, and runs their emulated tests.

    python -m tests.core.cuda_mutants            # all; `--only NAME ...` for some

Prints a Markdown table. The exit status is 1 if the tests pass in spite of a mistake.
"""

import sys

from tests.core import mutation_testing
from tests.core.mutation_testing import Mutant

KERNELS = "cuda/box_conv_kernels.cuh"
TILE = "cuda/box_conv_tile.cuh"
SLIDE = "cuda/box_conv_slide.cuh"
PLAN = "cuda/box_conv_plan.h"

MUTANTS = [
    Mutant(
        "no barrier between loading a tile and summing its octets",
        KERNELS,
        "(source, length, octets, tile);\n    __syncthreads();",
        "(source, length, octets, tile);",
    ),
    Mutant(
        "no barrier between summing octets and sliding",
        KERNELS,
        "= sum;\n    }\n    __syncthreads();",
        "= sum;\n    }",
    ),
    Mutant(
        "no barrier before the tile is overwritten by the next",
        KERNELS,
        "    __syncthreads();\n    if constexpr (Work::kHasProducts) {",
        "    if constexpr (Work::kHasProducts) {",
    ),
    Mutant(
        "no barrier between clearing a tile and loading it with strides",
        TILE,
        "clear(kGroup, length);\n    __syncthreads();",
        "clear(kGroup, length);",
    ),
    Mutant(
        "no barrier while products of tiles are added",
        KERNELS,
        "      __syncthreads();\n      if (thread < half)",
        "      if (thread < half)",
    ),
    Mutant("asynchronous copies are not waited for", TILE, "wait_for_copies();", ";"),
    Mutant(
        "the rows behind the line are not cleared",
        TILE,
        "  clear(kGroup + Index{length}, kGroup + 1);\n",
        "",
    ),
    Mutant(
        "the row of zeros behind the octets is one too early",
        TILE,
        "clear(2 * kGroup + 1 + Index{length} + octets, 1);",
        "clear(2 * kGroup + Index{length} + octets, 1);",
    ),
    Mutant("pixels are read before the tile", TILE, "p = p > -kGroup ? p : -kGroup;", ""),
    Mutant(
        "one position too many is loaded",
        TILE,
        "const int count = (length + t.step - 1) / t.step;",
        "const int count = (length + t.step) / t.step;",
    ),
    Mutant(
        "packets are loaded from addresses that are not aligned",
        TILE,
        " &&\n           reinterpret_cast<std::uintptr_t>(data) % kPacketBytes == 0;",
        ";",
    ),
    Mutant(
        "packets are stored at addresses that are not aligned",
        "cuda/platform.cuh",
        "  if (reinterpret_cast<std::uintptr_t>(target) % kPacketBytes != 0) return false;\n",
        "",
    ),
    Mutant(
        "segments end behind the line",
        KERNELS,
        "end_ = end < call.length ? end : call.length;",
        "end_ = end;",
    ),
    Mutant(
        "lanes beside the last line do work",
        KERNELS,
        "if (line < lines && box < call.boxes) {",
        "if (box < call.boxes) {",
    ),
    Mutant(
        "all lines of a warp read the banks of the first",
        KERNELS,
        "line_of(line * plan.group + channel)",
        "line_of(channel)",
    ),
    Mutant(
        "the wrong octet leaves the core",
        SLIDE,
        "sum_.add(-line_.octet(begin_));",
        "sum_.add(-line_.octet(begin_ + 1));",
    ),
    Mutant(
        "rounding errors of the core are dropped",
        SLIDE,
        "    low_ += (high_ - (sum - part)) + (value - part);\n",
        "    low_ += 0 * part;\n",
    ),
    Mutant("a NaN stays in the core", SLIDE, "    if (!sum_.is_moderate()) add_all();\n", ""),
    Mutant(
        "the core of a window inside one octet is too long",
        SLIDE,
        "left = core > 0 ? core : 0;",
        "left = core > 0 ? left : 0;",
    ),
    Mutant(
        "short windows lack their last pixel",
        SLIDE,
        "if (t > w.middle) continue;",
        "if (t >= w.middle) continue;",
    ),
    Mutant(
        "the last pixel has the weight of the first",
        KERNELS,
        "window_.last_weight * last[k]",
        "window_.first_weight * last[k]",
    ),
    Mutant(
        "edge gradients on a border take the inward side",
        "cuda/box_conv_windows.cuh",
        "box.left = {box.left.offset - 1, 1.0};",
        "box.left = {box.left.offset, 0.0};",
    ),
    Mutant(
        '"valid": the factors of the rows are those of the columns',
        KERNELS,
        "call.row_factors(box)[line * call.line_step]",
        "call.column_factors(box)[line * call.line_step]",
    ),
    Mutant(
        "products of some tiles are not added",
        KERNELS,
        "tile += threads * groups)",
        "tile += 2 * threads * groups)",
    ),
    Mutant(
        "a tile has no memory for its last row",
        PLAN,
        "plan.octets + 2) * kWords",
        "plan.octets + 1) * kWords",
    ),
    Mutant(
        "more blocks of threads than tiles in the workspace",
        "cuda/box_conv_launch.cuh",
        "min_index(call.tile_count(), resident_tiles_)",
        "call.tile_count()",
    ),
    Mutant(
        "a group of 32 boxes has pixels of one channel only",
        PLAN,
        "boxes / m + 1 + (m % boxes != 0)",
        "boxes / m + 1",
    ),
    Mutant(
        "offsets in tensors are computed in 32 bits",
        TILE,
        "static_cast<Index>(p) * source.tensor.position",
        "p * source.tensor.position",
    ),
    Mutant(
        "integral image: the sum of the wrong channel is carried on",
        "cuda/integral_image.cu",
        "(at_once - 1) * values + value",
        "(at_once - 1) * values",
    ),
    Mutant(
        "integral image: no barrier after the sums of segments",
        "cuda/integral_image.cu",
        "totals[threadIdx.x] = sum;\n      __syncthreads();\n",
        "totals[threadIdx.x] = sum;\n",
    ),
]


if __name__ == "__main__":
    sys.exit(mutation_testing.run(__doc__.splitlines()[0], MUTANTS, "cuda_test"))
