// The summed-area table of one plane, and reading a box's sums from it a row at a time.
//
// Tables hold doubles: a float32 table of a large bright plane loses the small boxes to rounding.
#ifndef BOXCONV_CORE_SUMMED_AREA_TABLE_H_
#define BOXCONV_CORE_SUMMED_AREA_TABLE_H_

#include "core/box_edge.h"
#include "core/platform.h"

namespace boxconv {
namespace BOXCONV_ISA {

inline Index table_size(Index height, Index width) { return (height + 1) * (width + 1); }

// Adds `kRows` rows of the plane at once: as many running sums hide each other's latency.
template <int kRows, typename V>
BOXCONV_HOST_DEVICE void add_table_rows(const V* plane, Index width, double* table) {
  double sums[kRows] = {};
  for (int r = 1; r <= kRows; ++r) table[r * (width + 1)] = 0;
  for (Index x = 0; x < width; ++x) {
    double above = table[x + 1];
    for (int r = 0; r < kRows; ++r) {
      sums[r] += plane[r * width + x];
      above += sums[r];
      table[(r + 1) * (width + 1) + x + 1] = above;
    }
  }
}

// table[i, j] becomes the sum of the plane over rows < i and columns < j.
template <typename V>
void build_table(const V* plane, Index height, Index width, double* table) {
  for (Index x = 0; x <= width; ++x) table[x] = 0;
  Index y = 0;
  for (; y + 4 <= height; y += 4) {
    add_table_rows<4>(plane + y * width, width, table + y * (width + 1));
  }
  for (; y < height; ++y) {
    add_table_rows<1>(plane + y * width, width, table + y * (width + 1));
  }
}

// sums[j] becomes the sum over columns < j, between a box's upper and lower edge at row `center`.
// Returns false, and leaves sums alone, where the box has no row of the plane.
inline bool rows_between(const double* table, Index height, Index width, EdgeShift top,
                         EdgeShift bottom, Index center, double* sums) {
  const EdgeCell t = edge_cell(top, center, height), b = edge_cell(bottom, center, height);
  if (t.cell == b.cell && t.fraction == b.fraction) return false;
  const Index row = width + 1;
  const double *t0 = table + t.cell * row, *t1 = t0 + row;
  const double *b0 = table + b.cell * row, *b1 = b0 + row;
  for (Index j = 0; j <= width; ++j) {
    sums[j] = ((1 - b.fraction) * b0[j] + b.fraction * b1[j]) -
              ((1 - t.fraction) * t0[j] + t.fraction * t1[j]);
  }
  return true;
}

// The same for the single pixel row `y`.
inline void one_row(const double* table, Index width, Index y, double* sums) {
  const double *above = table + y * (width + 1), *below = above + width + 1;
  for (Index j = 0; j <= width; ++j) sums[j] = below[j] - above[j];
}

// The outputs x of a row whose pixel x * stride + offset is inside [0, width): [begin, end).
// Those before lie left of the plane, those after right of it.
struct InsideRange {
  Index begin, end;
};

BOXCONV_HOST_DEVICE Index clamp_index(Index value, Index low, Index high) {
  return value < low ? low : (value > high ? high : value);
}

BOXCONV_HOST_DEVICE InsideRange inside_range(Index offset, Index stride, Index width,
                                             Index out_width) {
  const auto first_at_least = [=](Index pixel) {
    const Index distance = pixel - offset;  // ceil(distance / stride), from 0 to out_width
    return distance <= 0 ? Index{0} : clamp_index((distance + stride - 1) / stride, 0, out_width);
  };
  return {first_at_least(0), first_at_least(width)};
}

// Calls emit(x, sum) for every output x of a row that sees any of the plane, with the sum between
// the box's left and right edge. `sums` holds the row's sums over columns < j. Outputs not named
// have the sum zero. One loop for each combination of edges inside and outside the plane, so that
// the wide one, with both inside, has neither branches nor index arithmetic.
template <typename Emit>
BOXCONV_HOST_DEVICE void columns_between(const double* sums, Index width, EdgeShift left,
                                         EdgeShift right, Index stride, Index out_width,
                                         const Emit& emit) {
  // As left <= right, no output's right edge enters or leaves the plane after its left edge does.
  const InsideRange l = inside_range(left.offset, stride, width, out_width);
  const InsideRange r = inside_range(right.offset, stride, width, out_width);
  const double total = sums[width];
  const auto upto = [sums, stride](EdgeShift edge, Index x) {
    const double* cell = sums + (x * stride + edge.offset);
    return (1 - edge.fraction) * cell[0] + edge.fraction * cell[1];
  };
  const Index right_only = r.end < l.begin ? r.end : l.begin;
  const Index left_only = r.end > l.begin ? r.end : l.begin;
  for (Index x = r.begin; x < right_only; ++x) emit(x, upto(right, x));
  for (Index x = r.end; x < l.begin; ++x) emit(x, total);
  if (stride == 1) {
    const Index from = left.offset, to = right.offset;
    const double f = left.fraction, g = right.fraction;
    for (Index x = l.begin; x < r.end; ++x) {
      emit(x, ((1 - g) * sums[x + to] + g * sums[x + to + 1]) -
                  ((1 - f) * sums[x + from] + f * sums[x + from + 1]));
    }
  } else {
    for (Index x = l.begin; x < r.end; ++x) emit(x, upto(right, x) - upto(left, x));
  }
  for (Index x = left_only; x < l.end; ++x) emit(x, total - upto(left, x));
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_SUMMED_AREA_TABLE_H_
