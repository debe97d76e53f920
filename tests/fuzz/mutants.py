"""Makes deliberate mistakes in a copy of core, and measures how soon the fuzzer finds each.

    python -m tests.fuzz.mutants            # all; `--only NAME ...` for some

Prints a Markdown table. The exit status is 1 if a mistake is not found within ten minutes.
"""

import sys

from tests.core import mutation_testing
from tests.core.mutation_testing import Mutant

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


if __name__ == "__main__":
    # Always the same problems. They take less than a minute, but more on a busy machine.
    fuzzing = ("--minutes", "10", "--first_seed", "1")
    sys.exit(mutation_testing.run(__doc__.splitlines()[0], MUTANTS, "fuzz", fuzzing))
