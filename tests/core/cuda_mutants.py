"""Makes deliberate mistakes in a copy of the CUDA kernels, and runs their emulated tests.

    python -m tests.core.cuda_mutants            # all; `--only NAME` for one

Prints a Markdown table. The exit status is 1 if the tests pass in spite of a mistake.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.mutants import Mutant, copy_sources, replace_once

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


def run(*command: object) -> subprocess.CompletedProcess:
    """Runs a command and captures its output."""
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, errors="replace"
    )


def first_report(folder: Path) -> str | None:
    """Builds and runs the emulated tests; returns the first failure, or None if they pass."""
    built = run("cmake", "--build", folder / "build", "--target", "cuda_test", "--parallel", "2")
    if built.returncode:
        raise SystemExit(built.stdout[-3000:] + built.stderr[-3000:])
    signs = ("FAILED", "ERROR: AddressSanitizer", "runtime error")
    command = ["timeout", "900", str(folder / "build/cuda_test")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as tests:
        for line in tests.stdout:
            if any(sign in line for sign in signs):
                tests.kill()
                return line.strip()
    return None if tests.returncode == 0 else f"exit status {tests.returncode}"


def main() -> int:
    """The command `python -m tests.core.cuda_mutants`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="part of a mutant's name")
    only = parser.parse_args().only
    mutants = [mutant for mutant in MUTANTS if only in mutant.name]
    missed = 0
    print("| mistake | first report |\n| --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_sources(folder)
        run("cmake", "-S", folder / "custom_ops", "-B", folder / "build", "-DBOXCONV_CORE_TESTS=ON")
        for mutant in mutants:
            path = folder / "custom_ops/core" / mutant.file
            original = path.read_text()
            replace_once(path, mutant.old, mutant.new)
            report = first_report(folder)
            path.write_text(original)
            missed += report is None
            print(f"| {mutant.name} | {report or 'not found'} |", flush=True)
    return 1 if missed or not mutants else 0


if __name__ == "__main__":
    sys.exit(main())
