// Sums of a window that slides down the columns of a plane, row by row.
//
// The sum of the middle (box_window.h) is kept from row to row:
//
//     middle(y) = middle(y - 1) + the row that enters - the row that leaves
//
// It is kept in double, so the rounding errors that a large value leaves behind are far below those
// of float. Only one double per column is stored, however high the window is. This suits windows
// that do not fit in a cache; sliding_window.h stores as many rows as the window has.
//
// A NaN or an infinity that has entered a sum would never leave it again, and a huge value would
// leave a large error. slide() therefore returns whether all sums were moderate. If not, the plane
// has to be computed by sliding_window.h.
#ifndef BOXCONV_CORE_CPU_RUNNING_SUMS_H_
#define BOXCONV_CORE_CPU_RUNNING_SUMS_H_

#include "core/cpu/simd.h"
#include "core/geometry/box_window.h"

namespace boxconv {
namespace BOXCONV_ISA {

// Rows of a plane. Rows outside of the plane are zero. If `capacity` is less than the height, the
// plane is a ring buffer: only the last `capacity` rows that were stored can be read.
template <typename V>
struct PlaneRows {
  const V* data;
  Index stride, capacity, height;
  const V* zeros;  // a row of zeros

  BOXCONV_INLINE const V* row(Index y) const {
    return inside(y, height) ? data + (y % capacity) * stride : zeros;
  }
};

// Columns are summed in strips of kStrip columns. The last strip of a plane overlaps the one before
// if the width is no multiple of kStrip.
constexpr Index kStrip = 16;
BOXCONV_INLINE Index strips_of(Index width) { return (width + kStrip - 1) / kStrip; }
BOXCONV_INLINE Index strip_begin(Index strip, Index width) {
  return min_index(strip * kStrip, width - kStrip);
}

// The running sums of one window, in planes at least kStrip wide.
template <typename V>
class RunningSums {
  static constexpr int kWide = kMaxLanes<double>;
  static constexpr int kVectors = kStrip / kWide;
  using Wide = Vector<double, kWide>;
  using Narrow = Vector<V, kWide>;

 public:
  // The number of doubles in `sums`.
  static Index size(Index width) { return strips_of(width) * kStrip; }

  RunningSums(const SlidingWindow<V>& window, Index width, double* sums)
      : window_(window), width_(width), sums_(sums) {}

  // Before the first output, at row `y`: clear() the sums, then call start() for all rows within
  // reach, some rows [begin, end) at a time while they are in the cache. `rows` must hold them.
  void clear() const { BOXCONV_ISA::clear(sums_, size(width_)); }
  void start(const PlaneRows<V>& rows, Index y, Index begin, Index end) const {
    if (!has_middle()) return;
    Index row = max_index(begin, y + window_.first);
    end = min_index(end, y + window_.last - 1);
    // Four rows at a time, so that the sums are loaded and stored less often.
    for (; row + 4 <= end; row += 4) add_rows<4>(rows, row);
    for (; row < end; ++row) add_rows<1>(rows, row);
  }

  // The next calls of slide() compute the sums at `count` rows from `y` on. `y` continues where the
  // rows before ended. `addresses` is scratch memory for addresses_size(count) values.
  void set_rows(const PlaneRows<V>& rows, Index y, Index count, const V** addresses) {
    count_ = count;
    entering_ = rows.row(y + window_.last - 1);
    first_ = addresses;
    last_ = addresses + count;
    last_leaving_ = rows.height - 1 - window_.first - y;
    for (Index i = 0; i < count; ++i) {
      addresses[i] = rows.row(y + i + window_.first);
      // If both edges lie in one pixel, there is no last pixel.
      addresses[count + i] = window_.middle < 0 ? rows.zeros : rows.row(y + i + window_.last);
    }
  }
  static Index addresses_size(Index count) { return 2 * count; }

  // Computes the sums for the columns of a strip: out[i * kStrip + x] at the i-th row. Returns
  // false if a sum was too large.
  bool slide(Index strip, V* out) const {
    return has_middle() ? slide_strip<true>(strip, out) : slide_strip<false>(strip, out);
  }

 private:
  bool has_middle() const { return window_.middle > 0; }

  BOXCONV_INLINE static Wide widen(const V* values) {
    return __builtin_convertvector((load_vector<V, kWide>(values)), Wide);
  }

  template <int kRows>
  void add_rows(const PlaneRows<V>& rows, Index y) const {
    const V* source[kRows];
    for (int i = 0; i < kRows; ++i) source[i] = rows.row(y + i);
    for (Index strip = 0; strip < strips_of(width_); ++strip) {
      const Index x = strip_begin(strip, width_);
      for (Index v = 0; v < kStrip; v += kWide) {
        Wide sum = widen(source[0] + x + v);
        for (int i = 1; i < kRows; ++i) sum += widen(source[i] + x + v);
        double* const target = sums_ + strip * kStrip + v;
        store_vector<double, kWide>(load_vector<double, kWide>(target) + sum, target);
      }
    }
  }

  template <bool kHasMiddle>
  bool slide_strip(Index strip, V* out) const {
    const Index x = strip_begin(strip, width_);
    const V first_weight = window_.first_weight, last_weight = window_.last_weight;
    double* const strip_sums = sums_ + strip * kStrip;
    Wide sums[kVectors], entering[kVectors], squares = {};
    if (kHasMiddle) {
      for (int v = 0; v < kVectors; ++v) {
        sums[v] = load_vector<double, kWide>(strip_sums + v * kWide);
        entering[v] = widen(entering_ + x + v * kWide);
      }
    }
    for (Index i = 0; i < count_; ++i) {
      const V *const first = first_[i] + x, *const last = last_[i] + x;
      if (kHasMiddle && i == last_leaving_) {
        // The sum of no rows is exactly zero.
        for (int v = 0; v < kVectors; ++v) sums[v] = widen(first + v * kWide);
      }
      __builtin_prefetch(first + kPrefetchDistance);
      __builtin_prefetch(last + kPrefetchDistance);
      for (int v = 0; v < kVectors; ++v) {
        const Narrow first_pixel = load_vector<V, kWide>(first + v * kWide);
        const Narrow last_pixel = load_vector<V, kWide>(last + v * kWide);
        Narrow sum = first_weight * first_pixel + last_weight * last_pixel;
        if (kHasMiddle) {
          sums[v] += entering[v] - __builtin_convertvector(first_pixel, Wide);
          entering[v] = __builtin_convertvector(last_pixel, Wide);
          squares += sums[v] * sums[v];
          sum += __builtin_convertvector(sums[v], Narrow);
        }
        store_vector<V, kWide>(sum, out + i * kStrip + v * kWide);
      }
    }
    if (!kHasMiddle) return true;
    for (int v = 0; v < kVectors; ++v) {
      store_vector<double, kWide>(sums[v], strip_sums + v * kWide);
    }
    double total = 0;
    for (int i = 0; i < kWide; ++i) total += squares[i];
    const double max_sum = kMaxMean * static_cast<double>(window_.middle);
    return total <= max_sum * max_sum;  // false for NaN
  }

  // Values up to here leave errors below 1e-6 in the means of boxes.
  static constexpr double kMaxMean = 1e9;
  // The rows are so far apart that hardware prefetchers do not follow all of them.
  static constexpr Index kPrefetchDistance = 4 * kStrip;

  const SlidingWindow<V> window_;
  const Index width_;
  double* const sums_;
  Index count_ = 0;
  Index last_leaving_ = 0;       // where the last row of the plane leaves the middle
  const V* entering_ = nullptr;  // the row that enters the middle at the first row
  const V *const *first_ = nullptr, *const *last_ = nullptr;
};

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_RUNNING_SUMS_H_
