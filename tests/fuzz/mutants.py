"""Makes deliberate mistakes in a copy of core, and measures how soon the fuzzer finds each.

    python -m tests.fuzz.mutants            # all; `--only NAME ...` for some

Prints a Markdown table. The exit status is 1 if a mistake is not found within a minute.
"""

import argparse
import dataclasses
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Mutant:
    """Replaces `old`, which must occur once in this file of core, by `new`."""

    name: str
    file: str
    old: str
    new: str


MUTANTS = [
    Mutant(
        "edge on a border off by one when a box is mirrored",
        "geometry/box_edge.h",
        "EdgeShift{1 - shift.offset, 0.0}",
        "EdgeShift{-shift.offset, 0.0}",
    ),
    Mutant(
        "edge gradient on a border takes the inward side",
        "geometry/box_edge.h",
        "shift.fraction > 0 ? shift.offset : shift.offset - 1;",
        "shift.offset;",
    ),
    Mutant(
        '"valid" area counts pixels beyond the border',
        "geometry/box_edge.h",
        "if (cell >= size) return {size - 1, 1.0};",
        "if (cell > size) return {size - 1, 1.0};",
    ),
    Mutant(
        'extents of "valid": repeated rows of a group count again',
        "cpu/valid_extent.h",
        "(has_row ? product : Vector<V>{})",
        "product",
    ),
    Mutant(
        'extents of "valid": a tile takes the rows of another for its own',
        "cpu/box_conv_backward.h",
        "const Index y = tile.source_rows.first - tile.rows.first;",
        "const Index y = 0;",
    ),
    Mutant(
        "outputs beside the line are not cleared",
        "cpu/sliding_window.h",
        "    zero(call, end, count);\n",
        "",
    ),
    Mutant(
        "input gradient not cleared where all boxes of a channel are empty",
        "cpu/box_conv_backward.h",
        "      if (boxes_added == 0) clear(input_grad(c), tile.rows.count * row_stride_);\n",
        "",
    ),
    Mutant(
        "row's stride instead of the column's, between tiles only",
        "cpu/box_conv_forward.h",
        "tile.columns.first * p_.stride_x - tile.source_columns.first",
        "tile.columns.first * p_.stride_y - tile.source_columns.first",
    ),
    Mutant(
        "all images add to the same edge gradients: depends on the split",
        "cpu/box_conv_backward.h",
        "const Index part = tile.image * tiling.rectangles_per_image() + tile.rectangle;",
        "const Index part = tile.rectangle;",
    ),
    Mutant(
        "one pixel read beyond the image",
        "cpu/image_rows.h",
        "convert_values(row + c * shape.channel_stride(), columns.count, planes",
        "convert_values(row + c * shape.channel_stride(), columns.count + 1, planes",
    ),
    Mutant(
        "suffix sums begin beyond the line",
        "cpu/sliding_window.h",
        "make_suffix(call, suffix_, left, min_index(interval, call.length));",
        "make_suffix(call, suffix_, left, interval);",
    ),
    Mutant(
        "last column of the integral image starts from old sums",
        "cpu/integral_image.h",
        "for (Index i = 0; i < (width + 1) * count; ++i) column_sums[i] = 0;",
        "for (Index i = 0; i < width * count; ++i) column_sums[i] = 0;",
    ),
    Mutant(
        "bfloat16 truncated instead of rounded",
        "cpu/convert.h",
        "(bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;",
        "bits >> 16;",
    ),
    Mutant(
        "NaN of the next pixel reaches a box inside one pixel",
        "geometry/box_window.h",
        "one_pixel ? -1 : last - first - 1,",
        "last - first - 1,",
    ),
    Mutant(
        "large planes: rows never leave a running sum",
        "cpu/running_sums.h",
        "sums[v] += entering[v] - __builtin_convertvector(first_pixel, Wide);",
        "sums[v] += entering[v];",
    ),
    Mutant(
        "large planes: a NaN stays in a running sum",
        "cpu/running_sums.h",
        "return total <= max_sum * max_sum;",
        "return true;",
    ),
    Mutant(
        "small planes: images beyond the batch",
        "cpu/small_planes.cc",
        "{image, min_index(lanes_, batch_ - image)}",
        "{image, lanes_}",
    ),
    Mutant(
        "separable: edge gradients of the last images only",
        "cpu/response_images.h",
        "totals.boxes[4 * first + i] += edge_grads_.data()[i];",
        "totals.boxes[4 * first + i] = edge_grads_.data()[i];",
    ),
    Mutant(
        "kernel gradient: the last pixels are left out",
        "cpu/mix_channels.h",
        "end = (part + 1) * count / plan_.parts();",
        "end = (part * count + count - 1) / plan_.parts();",
    ),
    Mutant(
        "kernel gradient: rows below the image count again",
        "cpu/mix_groups.h",
        "if (y < rows) {",
        "if (y < lines) {",
    ),
    Mutant(
        "separable: planes of gradients are read as if they began where boxes reach",
        "cpu/response_groups.h",
        "const Tiling tiling = backward_tiling_of(part, whole);",
        "const Tiling tiling = backward_tiling_of(part, reach_of(part, boxes_, true));",
    ),
    Mutant(
        "mixing: blocks of channels-first images begin at a wrong pixel",
        "cpu/mix_channels.h",
        "const Index stride = m.layout == Layout::kChannelsLast ? channels : 1;",
        "const Index stride = channels;",
    ),
    Mutant(
        "mixing: only the last 256 channels are summed",
        "cpu/matrix_product.h",
        "    initial = {out, out_stride, kPanelColumns<V>};\n",
        "",
    ),
    Mutant(
        "mixing: one pixel read beyond the image",
        "cpu/mix_channels.h",
        "m_.pixels, count, block.count, packed_);",
        "m_.pixels, count, block.count + 1, packed_);",
    ),
]


def copy_sources(folder):
    """Copies the fuzzer's sources. Keeps only the baseline instruction set, which builds faster."""
    for part in ("custom_ops", "tests/fuzz", "tests/core"):
        shutil.copytree(REPOSITORY / part, folder / part)
    lists = folder / "custom_ops/CMakeLists.txt"
    lists.write_text(lists.read_text().replace('"x86_64|AMD64"', '"none"'))


def replace_once(path, old, new):
    text = path.read_text()
    if text.count(old) != 1:
        raise SystemExit(
            f"{path.name} holds {old!r} {text.count(old)} times, want 1: update mutants.py"
        )
    path.write_text(text.replace(old, new))


def build(folder):
    commands = (
        ["cmake", "-S", folder / "custom_ops", "-B", folder / "build", "-DBOXCONV_CORE_TESTS=ON"],
        ["cmake", "--build", folder / "build", "--target", "fuzz", "--parallel", "2"],
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stdout[-3000:] + done.stderr[-3000:])


def seconds_to_find(folder):
    """Runs the fuzzer until it reports a failure. Returns the seconds and the report, or None."""
    started = time.monotonic()
    # Always the same problems. They take less than a minute, but more on a busy machine.
    command = [folder / "build/fuzz", "--minutes", "10", "--first_seed", "1"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as fuzzer:
        for line in fuzzer.stdout:
            found = "FAILED" in line or "ERROR: AddressSanitizer" in line or "runtime error" in line
            if found:
                seconds = time.monotonic() - started
                details = line if "FAILED" not in line else next(fuzzer.stdout, line)
                fuzzer.kill()
                return seconds, details.strip()
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[""], help="parts of the names of mutants")
    parts = parser.parse_args().only
    mutants = [mutant for mutant in MUTANTS if any(part in mutant.name for part in parts)]
    missed = 0
    print("| mistake | found after | first report |\n| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_sources(folder)
        for mutant in mutants:
            path = folder / "custom_ops/core" / mutant.file
            original = path.read_text()
            replace_once(path, mutant.old, mutant.new)
            build(folder)
            found = seconds_to_find(folder)
            path.write_text(original)
            missed += found is None
            after, report = (f"{found[0]:.1f} s", f"`{found[1]}`") if found else ("not found", "")
            print(f"| {mutant.name} | {after} | {report} |", flush=True)
    return 1 if missed or not mutants else 0


if __name__ == "__main__":
    sys.exit(main())
