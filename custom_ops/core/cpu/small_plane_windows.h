// Sums of a sliding window along one axis of a small plane, for all lines of that axis.
//
// A pixel is a vector with one image in each lane:
//
//     plane[(y * width + x) * kLanes<V> + image]
//
// The windows are those of sliding_window.h. Here, what depends only on the window is computed once
// for all rows or all columns of the plane.
#ifndef BOXCONV_CORE_CPU_SMALL_PLANE_WINDOWS_H_
#define BOXCONV_CORE_CPU_SMALL_PLANE_WINDOWS_H_

#include <utility>

#include "core/cpu/simd.h"
#include "core/geometry/box_window.h"

namespace boxconv {
namespace BOXCONV_ISA {

// The lines of a plane along one axis: pixel i < length of line j < lines lies at
// i * pixel_stride + j * line_stride. No line is longer than kMaxSmallSide (small_planes.h).
struct PlaneAxis {
  Index length, pixel_stride, lines, line_stride;
};

// The same pixel of kCount neighbouring lines.
template <typename V, int kCount>
struct PixelGroup {
  Vector<V> v[kCount] = {};

  BOXCONV_INLINE static PixelGroup load(const V* values, Index stride) {
    PixelGroup group;
    for (int i = 0; i < kCount; ++i) group.v[i] = load_vector<V>(values + i * stride);
    return group;
  }
  BOXCONV_INLINE void store(V* values, Index stride) const {
    for (int i = 0; i < kCount; ++i) store_vector<V>(v[i], values + i * stride);
  }
  BOXCONV_INLINE PixelGroup& operator+=(const PixelGroup& other) {
    for (int i = 0; i < kCount; ++i) v[i] += other.v[i];
    return *this;
  }
  BOXCONV_INLINE PixelGroup& add_product(V factor, const PixelGroup& other) {
    for (int i = 0; i < kCount; ++i) v[i] += factor * other.v[i];
    return *this;
  }
  BOXCONV_INLINE friend PixelGroup operator*(V factor, PixelGroup group) {
    for (int i = 0; i < kCount; ++i) group.v[i] *= factor;
    return group;
  }
};

template <typename V>
class SmallPlaneWindows {
 public:
  // The number of values in `suffix`, for lines of at most this length.
  static Index suffix_size(Index length) { return (length + 1) * kGroupLines * kLanes<V>; }

  // `suffix` is scratch memory for suffix_size(length) values.
  explicit SmallPlaneWindows(V* suffix) : suffix_(suffix) {}

  // Sets pixel i < axis.length of each line of `out` to the window's sum at output i.
  void slide(const SlidingWindow<V>& w, const PlaneAxis& axis, const V* in, V* out) const {
    if (min_index(w.middle, axis.length) <= kMaxDirectMiddle) {
      slide_direct(w, axis, in, out);
    } else {
      slide_lines<kGroupLines>(w, axis, 0, in, out);
    }
  }

 private:
  // Windows with at most this many whole pixels inside the line are summed pixel by pixel.
  static constexpr int kMaxDirectMiddle = 5;
  // The number of lines that longer windows slide along at once, which hides the latency of the
  // additions.
  static constexpr int kGroupLines = 4;

  // The first and the last pixel of a window on each line, and the weights of all its pixels.
  struct Ends {
    V first_weight, weight, last_weight;
    const V *first, *last;
    Index first_stride, last_stride;  // between lines
  };

  static void slide_direct(const SlidingWindow<V>& w, const PlaneAxis& axis, const V* in, V* out) {
    static constexpr V kZeros[kLanes<V>] = {};  // replaces pixels outside the line
    for (Index i = 0; i < axis.length; ++i) {
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
      sum_pixels(ends, end - begin, axis, in + begin * axis.pixel_stride,
                 out + i * axis.pixel_stride,
                 std::make_integer_sequence<int, kMaxDirectMiddle + 1>());
    }
  }

  // Calls sum_pixels<middle>, so that the compiler unrolls the loop over the middle.
  template <int... kMiddle>
  static void sum_pixels(const Ends& ends, Index middle, const PlaneAxis& axis, const V* in, V* out,
                         std::integer_sequence<int, kMiddle...>) {
    (void)((middle == kMiddle ? (sum_pixels<kMiddle>(ends, axis, in, out), true) : false) || ...);
  }

  // Computes one output of each line: the sum of kMiddle pixels, from `in` on, and of the ends. The
  // arguments are passed by value, so that the compiler keeps them in registers.
  template <int kMiddle>
  static void sum_pixels(const Ends ends, const PlaneAxis axis, const V* in, V* out) {
    const V *first = ends.first, *last = ends.last;
    for (Index j = 0; j < axis.lines; ++j) {
      Vector<V> sum = {};
      for (int i = 0; i < kMiddle; ++i) sum += load_vector<V>(in + i * axis.pixel_stride);
      sum *= ends.weight;
      sum += ends.first_weight * load_vector<V>(first);
      sum += ends.last_weight * load_vector<V>(last);
      store_vector<V>(sum, out);
      in += axis.line_stride;
      out += axis.line_stride;
      first += ends.first_stride;
      last += ends.last_stride;
    }
  }

  // Slides the window along the lines from `line` on, kCount lines at a time, then along the rest.
  template <int kCount>
  void slide_lines(const SlidingWindow<V>& w, const PlaneAxis& axis, Index line, const V* in,
                   V* out) const {
    for (; line + kCount <= axis.lines; line += kCount) {
      slide_intervals<kCount>(w, axis, in + line * axis.line_stride, out + line * axis.line_stride,
                              suffix_);
    }
    if constexpr (kCount > 1) slide_lines<kCount / 2>(w, axis, line, in, out);
  }

  // Slides the window along kCount lines by intervals, as WindowSlider does (sliding_window.h). Let
  // h = i + w.last, the last pixel of the window at output i. Intervals are ranges of h.
  template <int kCount>
  static void slide_intervals(const SlidingWindow<V> w, const PlaneAxis axis, const V* in, V* out,
                              V* suffix) {
    using Group = PixelGroup<V, kCount>;
    const auto load = [&](Index p) {
      return Group::load(in + p * axis.pixel_stride, axis.line_stride);
    };
    const auto store = [&](const Group& sum, Index i) {
      sum.store(out + i * axis.pixel_stride, axis.line_stride);
    };
    // At outputs outside [begin, end), the whole window lies outside the line.
    const Index begin = clamp_index(-w.last, 0, axis.length);
    const Index end = clamp_index(axis.length - w.first, begin, axis.length);
    for (Index i = 0; i < begin; ++i) store(Group(), i);
    for (Index i = end; i < axis.length; ++i) store(Group(), i);
    const Index n = w.middle, last = end + w.last;
    for (Index interval = begin + w.last; interval < last; interval += n) {
      const Index stop = min_index(interval + n, last), left = max_index(interval - n, 0);
      make_suffix<kCount>(w, load, left, min_index(interval, axis.length), suffix);
      Group prefix;
      const auto sum_until = [&](Index h) {
        // Windows whose middle begins before pixel 0 share the suffix sum of pixel 0.
        const Index p = max_index(h - n, 0) - left;
        Group sum = Group::load(suffix + p * kCount * kLanes<V>, kLanes<V>);
        return sum.add_product(w.weight, prefix);
      };
      const Index inside_end = clamp_index(axis.length, interval, stop);
      for (Index h = interval; h < inside_end; ++h) {
        const Group pixel = load(h);
        store(sum_until(h).add_product(w.last_weight, pixel), h - w.last);
        prefix += pixel;
      }
      for (Index h = inside_end; h < stop; ++h) store(sum_until(h), h - w.last);
    }
  }

  // Computes the contributions of the left interval [begin, end) to windows whose middle begins at
  // pixel p, for begin <= p <= end:
  //
  //     suffix[p - begin] = first_weight * pixel[p - 1]
  //                         + weight * (pixel[p] + ... + pixel[end - 1])
  template <int kCount, typename Load>
  BOXCONV_INLINE static void make_suffix(const SlidingWindow<V>& w, const Load& load, Index begin,
                                         Index end, V* suffix) {
    using Group = PixelGroup<V, kCount>;
    V* out = suffix + (end - begin) * kCount * kLanes<V>;
    const auto store = [&](const Group& sum) {
      sum.store(out, kLanes<V>);
      out -= kCount * kLanes<V>;
    };
    Group sum, pixel;
    if (end > 0) pixel = load(end - 1);
    store(w.first_weight * pixel);
    for (Index p = end - 1; p >= max_index(begin, 1); --p) {
      sum += pixel;
      pixel = load(p - 1);
      store((w.weight * sum).add_product(w.first_weight, pixel));
    }
    // Pixel 0 has no pixel before it.
    if (begin == 0 && end > 0) store(w.weight * (sum += pixel));
  }

  V* const suffix_;
};

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_SMALL_PLANE_WINDOWS_H_
