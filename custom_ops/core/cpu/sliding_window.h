// Sums of a sliding window, in about three additions per pixel whatever the window's width.
//
// A window is a middle of n pixels, and one pixel with its own weight at each end (box_window.h).
// Split the line into intervals of n pixels. The middle then spans at most two intervals, so
//
//     sum of the middle = suffix sum of the left interval + prefix sum of the right interval
//
//     |... interval k ...|... interval k+1 ...|
//              [----- middle -----]
//              ^ suffix of k      ^ prefix of k+1
//
// (van Herk 1992; Gil and Werman 1993, for maxima). Nothing is ever subtracted. Rounding errors,
// NaNs and infinities therefore stay inside the windows that contain them, and float32 is accurate
// enough for any line length. docs/notes/cpu_kernels.md lists the alternatives that were tried.
#ifndef BOXCONV_CORE_CPU_SLIDING_WINDOW_H_
#define BOXCONV_CORE_CPU_SLIDING_WINDOW_H_

#include <utility>

#include "core/cpu/prefetcher.h"
#include "core/cpu/simd.h"
#include "core/geometry/box_window.h"

namespace boxconv {
namespace BOXCONV_ISA {

// Windows with at most this many pixels in the middle are summed pixel by pixel.
constexpr int kMaxDirectMiddle = 6;
// The number of pixels that are summed before the sum is added to the running total. It keeps the
// rounding error far below the documented 1e-5.
constexpr Index kChain = 64;

// Slides a window along kLines neighbouring lines at once, one in each lane. With two vectors of
// lines, the additions of one vector hide the latency of those of the other.
template <typename V, int kLines>
class WindowSlider {
 public:
  // The number of values in `suffix`, for lines of at most this length.
  static Index suffix_size(Index length) { return (length + 1) * kLines; }

  // `suffix` is scratch memory for suffix_size(length) values. prefetcher->next()
  // is called once for each output whose window meets the line.
  WindowSlider(V* suffix, Prefetcher* prefetcher) : suffix_(suffix), prefetcher_(prefetcher) {}

  // Sets out[i * out_stride + line] to the window's sum at output i < count. Pixel p < length of a
  // line is in[p * in_stride + line].
  void slide(const SlidingWindow<V>& w, const V* in, Index in_stride, Index length, V* out,
             Index out_stride, Index count) const {
    // The functions with the inner loops take `call` by value, so that the compiler keeps its
    // members in registers.
    const Call call{w, in, in_stride, length, out, out_stride};
    // At outputs outside [begin, end), the whole window lies outside the line.
    const Index begin = clamp_index(-w.last, 0, count);
    const Index end = clamp_index(length - w.first, begin, count);
    zero(call, 0, begin);
    if (w.middle <= kMaxDirectMiddle) {
      slide_direct(call, begin, end, std::make_integer_sequence<int, kMaxDirectMiddle + 2>());
    } else {
      slide_intervals(call, begin, end);
    }
    zero(call, end, count);
  }

 private:
  // The arguments of slide().
  struct Call {
    const SlidingWindow<V> w;
    const V* const in;
    const Index in_stride, length;
    V* const out;
    const Index out_stride;
  };

  // One value of each line.
  struct Lines {
    static constexpr int kWidth = kLines < kMaxLanes<V> ? kLines : kMaxLanes<V>;
    static constexpr int kVectors = kLines / kWidth;
    Vector<V, kWidth> v[kVectors] = {};

    BOXCONV_INLINE static Lines load(const V* values) {
      Lines lines;
      for (int i = 0; i < kVectors; ++i) lines.v[i] = load_vector<V, kWidth>(values + i * kWidth);
      return lines;
    }
    BOXCONV_INLINE void store(V* values) const {
      for (int i = 0; i < kVectors; ++i) store_vector<V, kWidth>(v[i], values + i * kWidth);
    }
    BOXCONV_INLINE Lines& operator+=(const Lines& other) {
      for (int i = 0; i < kVectors; ++i) v[i] += other.v[i];
      return *this;
    }
    BOXCONV_INLINE Lines& operator*=(V factor) {
      for (int i = 0; i < kVectors; ++i) v[i] *= factor;
      return *this;
    }
    BOXCONV_INLINE Lines& add_product(V factor, const Lines& other) {
      for (int i = 0; i < kVectors; ++i) v[i] += factor * other.v[i];
      return *this;
    }
    BOXCONV_INLINE friend Lines operator+(Lines a, const Lines& b) { return a += b; }
    BOXCONV_INLINE friend Lines operator*(V factor, Lines a) { return a *= factor; }
  };

  static void zero(const Call& call, Index begin, Index end) {
    for (Index i = begin; i < end; ++i) Lines().store(call.out + i * call.out_stride);
  }

  // Calls direct<w.middle>, so that the compiler unrolls the loop over the middle. The middle may
  // be -1, so kMiddlePlusOne runs from 0 to kMaxDirectMiddle + 1.
  template <int... kMiddlePlusOne>
  void slide_direct(const Call& call, Index begin, Index end,
                    std::integer_sequence<int, kMiddlePlusOne...>) const {
    (void)((call.w.middle == kMiddlePlusOne - 1
                ? (direct<kMiddlePlusOne - 1>(call, begin, end), true)
                : false) ||
           ...);
  }

  // Sums each window pixel by pixel. If kMiddle is -1 (both edges in one pixel), that pixel is read
  // a second time as the last pixel, with weight zero.
  template <int kMiddle>
  void direct(const Call& call, Index begin, Index end) const {
    // At outputs in [inside_begin, inside_end), the whole window lies inside the line.
    const Index inside_begin = clamp_index(-call.w.first, begin, end);
    const Index inside_end = clamp_index(call.length - call.w.last, inside_begin, end);
    direct_range<kMiddle, true>(call, begin, inside_begin);
    direct_range<kMiddle, false>(call, inside_begin, inside_end);
    direct_range<kMiddle, true>(call, inside_end, end);
  }

  // kMayLeaveLine: windows may extend beyond the line, so each pixel's position is checked.
  template <int kMiddle, bool kMayLeaveLine>
  void direct_range(const Call call, Index begin, Index end) const {
#pragma GCC unroll 2
    for (Index i = begin; i < end; ++i) {
      const Index first = i + call.w.first;
      const auto pixel = [&](Index p) {
        return kMayLeaveLine && !inside(p, call.length) ? Lines()
                                                        : Lines::load(call.in + p * call.in_stride);
      };
      Lines sum;
      for (int p = 1; p <= kMiddle; ++p) sum += pixel(first + p);
      sum *= call.w.weight;
      sum.add_product(call.w.first_weight, pixel(first));
      sum.add_product(call.w.last_weight, pixel(first + kMiddle + 1));
      sum.store(call.out + i * call.out_stride);
      prefetcher_->next();
    }
  }

  // Let h = i + w.last, the last pixel of the window at output i. Pixel h first belongs to the
  // middle at output i + 1. Intervals are ranges of h. The first interval begins at the first h
  // rather than at pixel 0, so that no suffix sums are computed for windows before the first
  // output.
  void slide_intervals(const Call& call, Index begin, Index end) const {
    const Index n = call.w.middle, last = end + call.w.last;
    for (Index interval = begin + call.w.last; interval < last; interval += n) {
      const Index stop = min_index(interval + n, last), left = max_index(interval - n, 0);
      make_suffix(call, suffix_, left, min_index(interval, call.length));
      // Windows whose middle begins before pixel 0 (h < n) share the suffix sum of pixel 0, so its
      // stride is 0.
      const Index inner = clamp_index(n, interval, stop);
      const Lines prefix = run_range(call, suffix_, 0, interval, inner, Lines());
      run_range(call, suffix_ + (inner - n - left) * kLines, kLines, inner, stop, prefix);
    }
  }

  // Computes the contributions of the left interval [begin, end) to windows whose middle begins at
  // pixel p, for begin <= p <= end:
  //
  //     suffix[p - begin] = first_weight * pixel[p - 1]
  //                         + weight * (pixel[p] + ... + pixel[end - 1])
  static void make_suffix(const Call call, V* suffix, Index begin, Index end) {
    Lines total, pixel;
    if (end > 0) pixel = Lines::load(call.in + (end - 1) * call.in_stride);
    (call.w.first_weight * pixel).store(suffix + (end - begin) * kLines);
    const V* in = call.in + (end - 2) * call.in_stride;
    V* out = suffix + (end - begin - 1) * kLines;
    // Pixel 0 has no pixel before it; its suffix sum is stored at the end.
    const Index first = max_index(begin, 1);
    const auto store_next = [&](const Lines& sum) {
      (call.w.weight * (total + sum)).add_product(call.w.first_weight, pixel).store(out);
      out -= kLines;
    };
    const auto load_next = [&] {
      const Lines before = Lines::load(in);
      in -= call.in_stride;
      return before;
    };
    for (Index p = end; p > first;) {
      Lines chain;
      const Index stop = max_index(p - kChain, first);
      // Two pixels at a time, which halves the chain of dependent additions.
      for (; p - 1 > stop; p -= 2) {
        const Lines last_pixel = pixel;
        pixel = load_next();
        store_next(chain + last_pixel);
        const Lines pair = last_pixel + pixel;
        chain += pair;
        pixel = load_next();
        store_next(chain);
      }
      if (p > stop) {
        chain += pixel;
        pixel = load_next();
        store_next(chain);
        --p;
      }
      total += chain;
    }
    if (begin < first && end > 0) (call.w.weight * (total + pixel)).store(out);
  }

  // Computes the outputs with h in [begin, end), which lie in one interval. `prefix` is the prefix
  // sum of the interval up to pixel `begin`; the result is the prefix sum up to `end`. `suffix` is
  // the suffix sum of the first output, and suffix + suffix_stride that of the second.
  Lines run_range(const Call& call, const V* suffix, Index suffix_stride, Index begin, Index end,
                  Lines prefix) const {
    const Index inside = clamp_index(call.length, begin, end);
    prefix = run<true>(call, suffix, suffix_stride, begin, inside, prefix);
    suffix += (inside - begin) * suffix_stride;
    return run<false>(call, suffix, suffix_stride, inside, end, prefix);
  }

  // kInside: pixel h lies inside the line for every h in [begin, end). Otherwise it lies beyond the
  // line, and counts as zero, for every h.
  template <bool kInside>
  Lines run(const Call call, const V* suffix, Index suffix_stride, Index begin, Index end,
            Lines prefix) const {
    const V* in = call.in + begin * call.in_stride;
    V* out = call.out + (begin - call.w.last) * call.out_stride;
    const auto load_next = [&] {
      Lines pixel;
      if (kInside) pixel = Lines::load(in);
      in += call.in_stride;
      return pixel;
    };
    const auto store_next = [&](const Lines& sum, const Lines& pixel) {
      Lines total = Lines::load(suffix).add_product(call.w.weight, prefix + sum);
      if (kInside) total.add_product(call.w.last_weight, pixel);
      total.store(out);
      prefetcher_->next();
      suffix += suffix_stride;
      out += call.out_stride;
    };
    for (Index h = begin; h < end;) {
      Lines chain;
      const Index stop = min_index(h + kChain, end);
      for (; h + 1 < stop; h += 2) {
        const Lines pixel0 = load_next(), pixel1 = load_next();
        store_next(chain, pixel0);
        store_next(chain + pixel0, pixel1);
        chain += pixel0 + pixel1;
      }
      if (h < stop) {
        const Lines pixel0 = load_next();
        store_next(chain, pixel0);
        chain += pixel0;
        ++h;
      }
      prefix += chain;
    }
    return prefix;
  }

  V* const suffix_;
  Prefetcher* const prefetcher_;
};

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_SLIDING_WINDOW_H_
