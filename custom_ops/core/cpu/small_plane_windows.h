// Sums of a sliding window along one axis of a small plane, for all lines of that axis at once.
//
// A pixel is a vector with one image in each lane:
//
//     plane[(y * width + x) * kLines + image]
//
// The set-up of a window is done once for all rows or all columns of the plane.
#ifndef BOXCONV_CORE_CPU_SMALL_PLANE_WINDOWS_H_
#define BOXCONV_CORE_CPU_SMALL_PLANE_WINDOWS_H_

#include <utility>

#include "core/cpu/simd.h"
#include "core/cpu/sliding_window.h"

namespace boxconv {
namespace BOXCONV_ISA {

// The lines of a plane along one axis. Pixel p < length of line j < lines lies at
// j * line_stride + p * pixel_stride.
struct PlaneAxis {
  Index length, pixel_stride, lines, line_stride;
};

template <typename V, int kLines>
class SmallPlaneWindows {
  using Slider = WindowSlider<V, kLines>;
  using Lines = typename Slider::Lines;

 public:
  static Index suffix_size(Index length) { return Slider::suffix_size(length); }

  explicit SmallPlaneWindows(V* suffix) : slider_(suffix, &prefetcher_) {}

  // Sets pixel i < axis.length of each line of `out` to the window's sum at output i.
  void slide(const SlidingWindow<V>& w, const PlaneAxis& axis, const V* in, V* out) const {
    if (min_index(w.middle, axis.length) > kMaxDirect) {
      for (Index j = 0; j < axis.lines; ++j) {
        slider_.slide(w, in + j * axis.line_stride, axis.pixel_stride, axis.length,
                      out + j * axis.line_stride, axis.pixel_stride, axis.length);
      }
      return;
    }
    static constexpr V kZeros[kLines] = {};
    for (Index i = 0; i < axis.length; ++i) {
      // The pixels first and last are zero if they lie outside the line, or count for nothing.
      const Index first = i + w.first, last = i + w.last;
      const bool first_inside = inside(first, axis.length);
      const bool last_inside = w.middle >= 0 && inside(last, axis.length);
      const Index begin = clamp_index(first + 1, 0, axis.length);
      const Index end = clamp_index(last, begin, axis.length);
      const Ends ends{w.first_weight,
                      w.weight,
                      w.last_weight,
                      first_inside ? in + first * axis.pixel_stride : kZeros,
                      last_inside ? in + last * axis.pixel_stride : kZeros,
                      first_inside ? axis.line_stride : 0,
                      last_inside ? axis.line_stride : 0};
      sum_output(ends, end - begin, axis, in + begin * axis.pixel_stride,
                 out + i * axis.pixel_stride, std::make_integer_sequence<int, kMaxDirect + 1>());
    }
  }

 private:
  static constexpr int kMaxDirect = 8;

  // The pixels of a window whose weights differ from the others'.
  struct Ends {
    V first_weight, weight, last_weight;
    const V *first, *last;
    Index first_stride, last_stride;  // between lines
  };

  template <int... kMiddle>
  static void sum_output(const Ends& ends, Index middle, const PlaneAxis& axis, const V* in, V* out,
                         std::integer_sequence<int, kMiddle...>) {
    (void)((middle == kMiddle ? (sum_output<kMiddle>(ends, axis, in, out), true) : false) || ...);
  }

  // Computes one output of each line: the sum over kMiddle pixels from `in` on, and the ends.
  template <int kMiddle>
  static void sum_output(const Ends e, const PlaneAxis axis, const V* in, V* out) {
    const V *first = e.first, *last = e.last;
    for (Index j = 0; j < axis.lines; ++j) {
      Lines sum;
      if constexpr (kMiddle > 0) sum = Lines::load(in);
      for (int p = 1; p < kMiddle; ++p) sum += Lines::load(in + p * axis.pixel_stride);
      if constexpr (kMiddle > 0) sum *= e.weight;
      sum.add_product(e.first_weight, Lines::load(first));
      sum.add_product(e.last_weight, Lines::load(last));
      sum.store(out);
      in += axis.line_stride;
      out += axis.line_stride;
      first += e.first_stride;
      last += e.last_stride;
    }
  }

  mutable Prefetcher prefetcher_;
  Slider slider_;
};

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_SMALL_PLANE_WINDOWS_H_
