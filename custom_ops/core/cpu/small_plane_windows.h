// Sums of a sliding window along one axis of a small plane, for all lines of that axis at once.
//
// A pixel is a vector with one image in each lane:
//
//     plane[(y * width + x) * kImages + image]
//
// The window is that of sliding_window.h, and so are the sums of long windows. The set-up of a
// window is shared by all rows or all columns of the plane, and several of them are summed at once.
#ifndef BOXCONV_CORE_CPU_SMALL_PLANE_WINDOWS_H_
#define BOXCONV_CORE_CPU_SMALL_PLANE_WINDOWS_H_

#include <utility>

#include "core/cpu/simd.h"
#include "core/geometry/box_window.h"

namespace boxconv {
namespace BOXCONV_ISA {

// The lines of a plane along one axis. Pixel i < length of line j < lines lies at
// i * pixel_stride + j * line_stride. No line is longer than kMaxSmallSide (small_planes.h), so a
// running sum in float32 is accurate enough.
struct PlaneAxis {
  Index length, pixel_stride, lines, line_stride;
};

// The same pixel of kCount neighbouring lines. Each has kImages values.
template <typename V, int kImages, int kCount>
struct PixelGroup {
  static constexpr int kWidth = kImages < kMaxLanes<V> ? kImages : kMaxLanes<V>;
  static constexpr int kVectors = kImages / kWidth;
  Vector<V, kWidth> v[kCount][kVectors] = {};

  BOXCONV_INLINE static PixelGroup load(const V* values, Index stride) {
    PixelGroup group;
    for (int j = 0; j < kCount; ++j) {
      for (int i = 0; i < kVectors; ++i) {
        group.v[j][i] = load_vector<V, kWidth>(values + j * stride + i * kWidth);
      }
    }
    return group;
  }
  BOXCONV_INLINE void store(V* values, Index stride) const {
    for (int j = 0; j < kCount; ++j) {
      for (int i = 0; i < kVectors; ++i) {
        store_vector<V, kWidth>(v[j][i], values + j * stride + i * kWidth);
      }
    }
  }
  BOXCONV_INLINE PixelGroup& operator+=(const PixelGroup& other) {
    for (int j = 0; j < kCount; ++j) {
      for (int i = 0; i < kVectors; ++i) v[j][i] += other.v[j][i];
    }
    return *this;
  }
  BOXCONV_INLINE PixelGroup& add_product(V factor, const PixelGroup& other) {
    for (int j = 0; j < kCount; ++j) {
      for (int i = 0; i < kVectors; ++i) v[j][i] += factor * other.v[j][i];
    }
    return *this;
  }
  // The sum of all values.
  BOXCONV_INLINE double total() const {
    double sum = 0;
    for (int j = 0; j < kCount; ++j) {
      for (int i = 0; i < kVectors * kWidth; ++i) sum += v[j][i / kWidth][i % kWidth];
    }
    return sum;
  }
  BOXCONV_INLINE friend PixelGroup operator*(PixelGroup a, const PixelGroup& b) {
    for (int j = 0; j < kCount; ++j) {
      for (int i = 0; i < kVectors; ++i) a.v[j][i] *= b.v[j][i];
    }
    return a;
  }
  BOXCONV_INLINE friend PixelGroup operator*(V factor, PixelGroup group) {
    for (int j = 0; j < kCount; ++j) {
      for (int i = 0; i < kVectors; ++i) group.v[j][i] *= factor;
    }
    return group;
  }
};

template <typename V, int kImages>
class SmallPlaneWindows {
 public:
  // The number of values in `suffix`, for lines of at most this length.
  static Index suffix_size(Index length) { return (length + 1) * kGroupLines * kImages; }

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
#ifndef KDIRECT
#define KDIRECT 5
#endif
  static constexpr int kMaxDirectMiddle = KDIRECT;
  // The number of lines that are summed at once: four vectors hide the latency of additions.
  static constexpr int kVectors = PixelGroup<V, kImages, 1>::kVectors;
  static constexpr int kGroupLines = kVectors < 4 ? 4 / kVectors : 1;

  // The first and the last pixel of a window, which have weights of their own.
  struct Ends {
    V first_weight, weight, last_weight;
    const V *first, *last;
    Index first_stride, last_stride;  // between lines
  };

  static void slide_direct(const SlidingWindow<V>& w, const PlaneAxis& axis, const V* in, V* out) {
    // Pixels outside the line are zero.
    static constexpr V kZeros[kImages] = {};
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

  // Computes the same output of each line: the sum of kMiddle pixels from `in` on and of the ends.
  template <int kMiddle>
  static void sum_pixels(const Ends ends, const PlaneAxis axis, const V* in, V* out) {
    using Pixel = PixelGroup<V, kImages, 1>;
    const V *first = ends.first, *last = ends.last;
    for (Index j = 0; j < axis.lines; ++j) {
      Pixel sum;
      if (kMiddle > 0) {
        sum = Pixel::load(in, 0);
        for (int i = 1; i < kMiddle; ++i) sum += Pixel::load(in + i * axis.pixel_stride, 0);
        sum = ends.weight * sum;
      }
      sum.add_product(ends.first_weight, Pixel::load(first, 0));
      sum.add_product(ends.last_weight, Pixel::load(last, 0));
      sum.store(out, 0);
      in += axis.line_stride;
      out += axis.line_stride;
      first += ends.first_stride;
      last += ends.last_stride;
    }
  }

  // Slides the window along the lines from `line` on, kCount lines at a time.
  template <int kCount>
  void slide_lines(const SlidingWindow<V>& w, const PlaneAxis& axis, Index line, const V* in,
                   V* out) const {
    for (; line + kCount <= axis.lines; line += kCount) {
      slide_intervals<kCount>(w, axis, in + line * axis.line_stride, out + line * axis.line_stride,
                              suffix_);
    }
    if constexpr (kCount > 1) slide_lines<kCount / 2>(w, axis, line, in, out);
  }

  // Slides the window along kCount lines by intervals, as WindowSlider does: let h = i + w.last be
  // the last pixel of the window at output i. Intervals are ranges of h.
  template <int kCount>
  static void slide_intervals(const SlidingWindow<V> w, const PlaneAxis axis, const V* in, V* out,
                              V* suffix) {
    using Group = PixelGroup<V, kImages, kCount>;
    const auto load = [&](Index p) {
      return Group::load(in + p * axis.pixel_stride, axis.line_stride);
    };
    const auto store = [&](const Group& sum, Index i) {
      sum.store(out + i * axis.pixel_stride, axis.line_stride);
    };
    const auto suffix_at = [&](Index p) { return suffix + p * (kCount * kImages); };
    // At outputs outside [begin, end), the whole window lies outside the line.
    const Index begin = clamp_index(-w.last, 0, axis.length);
    const Index end = clamp_index(axis.length - w.first, begin, axis.length);
    for (Index i = 0; i < begin; ++i) store(Group(), i);
    for (Index i = end; i < axis.length; ++i) store(Group(), i);
    const Index n = w.middle, last = end + w.last;
    for (Index interval = begin + w.last; interval < last; interval += n) {
      const Index stop = min_index(interval + n, last), left = max_index(interval - n, 0);
      const Index right = min_index(interval, axis.length);
      // The suffix sums of the interval to the left, as in WindowSlider::make_suffix:
      // suffix[p - left] = first_weight * pixel[p - 1] + weight * (pixel[p] + ... pixel[right - 1]).
      {
        Group sum, pixel;
        if (right > 0) pixel = load(right - 1);
        (w.first_weight * pixel).store(suffix_at(right - left), kImages);
        Index p = right - 1;
        for (; p > 0 && p >= left; --p) {
          sum += pixel;
          pixel = load(p - 1);
          (w.weight * sum).add_product(w.first_weight, pixel).store(suffix_at(p - left), kImages);
        }
        if (left == 0 && right > 0) (w.weight * (sum += pixel)).store(suffix_at(0), kImages);
      }
      // The outputs. Windows whose middle begins before pixel 0 share the suffix sum of pixel 0.
      Group prefix;
      const Index inside_end = clamp_index(axis.length, interval, stop);
      Index h = interval;
      for (; h < inside_end; ++h) {
        const Group pixel = load(h);
        Group sum = Group::load(suffix_at(max_index(h - n, 0) - left), kImages);
        sum.add_product(w.weight, prefix).add_product(w.last_weight, pixel);
        store(sum, h - w.last);
        prefix += pixel;
      }
      for (; h < stop; ++h) {
        Group sum = Group::load(suffix_at(max_index(h - n, 0) - left), kImages);
        sum.add_product(w.weight, prefix);
        store(sum, h - w.last);
      }
    }
  }

  V* const suffix_;
};

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_SMALL_PLANE_WINDOWS_H_
