// Sliding windows over planes: down the columns, and along rows that have been turned into strips.
//
// A strip holds a group of rows, transposed: strip[x * lines + i] is pixel x of the group's row i.
// So each row has a lane of its own, and walking along it needs no sums across lanes. A group is
// two vectors of rows, or one where no more are left.
#ifndef BOXCONV_CORE_PLANE_WINDOWS_H_
#define BOXCONV_CORE_PLANE_WINDOWS_H_

#include "core/lanes.h"
#include "core/platform.h"
#include "core/sliding_window.h"
#include "core/transpose.h"

namespace boxconv {
namespace BOXCONV_ISA {

template <typename V>
constexpr Index kGroupRows = 2 * kLanes<V>;

// The rows of a group that starts at `row` of `rows`, as lanes of its strip.
template <typename V>
BOXCONV_HOST_DEVICE Index group_lines(Index row, Index rows) {
  return rows - row > kLanes<V> ? kGroupRows<V> : Index{kLanes<V>};
}

// Rows of a plane in scratch are whole vectors, and not a power of two apart: rows of 2^k bytes
// would all fall into the same cache sets.
BOXCONV_HOST_DEVICE Index padded_width(Index width) { return rounded_up(width, 8); }
BOXCONV_HOST_DEVICE Index apart(Index values) { return values + 16; }

template <typename V>
class PlaneWindows {
 public:
  static Index suffix_size(Index length) {
    return WindowSlider<V, kGroupRows<V>>::suffix_size(length);
  }
  explicit PlaneWindows(V* suffix) : pair_(suffix), single_(suffix) {}

  // Row i of `out` becomes the window's sums at output i < count, down the columns of a plane of
  // `length` rows. Rows are row_step apart in both.
  void down(const SlidingWindow<V>& w, const V* plane, Index row_step, Index length, Index width,
            V* out, Index count, Prefetcher* prefetcher) const {
    Index x = 0;
    for (; x + kGroupRows<V> <= width; x += kGroupRows<V>) {
      pair_.slide(w, plane + x, row_step, length, out + x, row_step, count, prefetcher);
    }
    for (; x < width; x += kLanes<V>) {
      single_.slide(w, plane + x, row_step, length, out + x, row_step, count, prefetcher);
    }
  }

  // The window's sums at outputs i < count along the rows of a strip of `length` pixels.
  void along(const SlidingWindow<V>& w, const V* strip, Index lines, Index length, V* out,
             Index count, Prefetcher* prefetcher) const {
    if (lines == kGroupRows<V>) {
      pair_.slide(w, strip, lines, length, out, lines, count, prefetcher);
    } else {
      single_.slide(w, strip, lines, length, out, lines, count, prefetcher);
    }
  }

 private:
  WindowSlider<V, kGroupRows<V>> pair_;
  WindowSlider<V, kLanes<V>> single_;
};

// Makes a strip of `lines` rows, `step` values apart. Of those only the first `count` exist; the
// last stands in for the others. Widths are whole vectors of pixels.
template <typename V>
void rows_to_strip(const V* rows, Index step, Index count, Index width, V* strip, Index lines) {
  if (count >= lines) {
    transpose(rows, step, lines, width, strip, lines);
    return;
  }
  constexpr Index n = kLanes<V>;
  V tile[n * n];
  for (Index line = 0; line < lines; line += n) {
    for (Index x = 0; x < width; x += n) {
      for (Index i = 0; i < n; ++i) {
        const V* row = rows + smaller(line + i, count - 1) * step + x;
        store_vector<V>(load_vector(row), tile + i * n);
      }
      transpose_tile<n>(tile, n, strip + x * lines + line, lines);
    }
  }
}

// The way back: rows of `width` pixels, which are pixel_step values apart in the strip. Writes all
// `lines` rows.
template <typename V>
void strip_to_rows(const V* strip, Index pixel_step, Index width, V* rows, Index step,
                   Index lines) {
  transpose(strip, pixel_step, width, lines, rows, step);
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_PLANE_WINDOWS_H_
