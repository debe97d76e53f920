// Sliding windows over planes: down the columns, and along the rows.
//
// Down the columns, neighbouring columns lie in neighbouring lanes. Along the rows, a group of rows
// is transposed first, so that each row has a lane of its own and no sums across lanes are needed:
//
//     group[x * lines + i] = pixel x of row i of the group
//
// A group has as many rows (`lines`) as two vectors have lanes, or one vector if no more rows are
// left.
#ifndef BOXCONV_CORE_CPU_PLANE_WINDOWS_H_
#define BOXCONV_CORE_CPU_PLANE_WINDOWS_H_

#include "core/cpu/simd.h"
#include "core/cpu/sliding_window.h"
#include "core/cpu/transpose.h"

namespace boxconv {
namespace BOXCONV_ISA {

template <typename V>
constexpr Index kGroupRows = 2 * kLanes<V>;

// The number of lines of the group that starts at `row`, in a plane of `rows` rows.
template <typename V>
BOXCONV_INLINE Index group_lines(Index row, Index rows) {
  return rows - row > kLanes<V> ? kGroupRows<V> : Index{kLanes<V>};
}

// Rows of a plane in scratch memory are padded to whole vectors.
BOXCONV_INLINE Index padded_width(Index width) { return round_up(width, 8); }
// A stride that is not a power of two. Rows 2^k bytes apart would all map to the same cache sets.
BOXCONV_INLINE Index padded_stride(Index values) { return values + 16; }

template <typename V>
class PlaneWindows {
 public:
  // The number of values in `suffix`, for lines of at most this length.
  static Index suffix_size(Index length) {
    return WindowSlider<V, kGroupRows<V>>::suffix_size(length);
  }
  // `suffix` is scratch memory for suffix_size(length) values. Each output calls
  // prefetcher->next().
  PlaneWindows(V* suffix, Prefetcher* prefetcher)
      : pair_(suffix, prefetcher), single_(suffix, prefetcher) {}

  // Slides the window down the columns of a plane of `length` rows: sets row i of `out` to the sums
  // at output i, for i < count. Both planes have the stride `row_stride`.
  void down(const SlidingWindow<V>& w, const V* plane, Index row_stride, Index length, Index width,
            V* out, Index count) const {
    Index x = 0;
    for (; x + kGroupRows<V> <= width; x += kGroupRows<V>) {
      pair_.slide(w, plane + x, row_stride, length, out + x, row_stride, count);
    }
    for (; x < width; x += kLanes<V>) {
      single_.slide(w, plane + x, row_stride, length, out + x, row_stride, count);
    }
  }

  // Slides the window along the rows of a group, each of `length` pixels: sets pixel i of the group
  // `out` to the sums at output i, for i < count.
  void along(const SlidingWindow<V>& w, const V* group, Index lines, Index length, V* out,
             Index count) const {
    if (lines == kGroupRows<V>) {
      pair_.slide(w, group, lines, length, out, lines, count);
    } else {
      single_.slide(w, group, lines, length, out, lines, count);
    }
  }

 private:
  WindowSlider<V, kGroupRows<V>> pair_;
  WindowSlider<V, kLanes<V>> single_;
};

// Transposes `count` rows, `stride` values apart, into a group of `lines` lines. If there are fewer
// rows than lines, the last row is repeated. `width` is a multiple of the vector length.
template <typename V>
void rows_to_group(const V* rows, Index stride, Index count, Index width, V* group, Index lines) {
  if (count >= lines) {
    transpose(rows, stride, lines, width, group, lines);
    return;
  }
  constexpr Index n = kLanes<V>;
  V patch[n * n];
  for (Index line = 0; line < lines; line += n) {
    for (Index x = 0; x < width; x += n) {
      for (Index i = 0; i < n; ++i) {
        const V* row = rows + min_index(line + i, count - 1) * stride + x;
        store_vector<V>(load_vector(row), patch + i * n);
      }
      transpose_patch<n>(patch, n, group + x * lines + line, lines);
    }
  }
}

// Transposes a group back into `lines` rows of `width` pixels. Pixels of the group are
// `pixel_stride` values apart.
template <typename V>
void group_to_rows(const V* group, Index pixel_stride, Index width, V* rows, Index stride,
                   Index lines) {
  transpose(group, pixel_stride, width, lines, rows, stride);
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_PLANE_WINDOWS_H_
