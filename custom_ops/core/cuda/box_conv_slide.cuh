// One thread slides a window along one line. This is the counterpart for GPUs of
// core/cpu/sliding_window.h, which explains the algorithm: a window's sum is the suffix sum of one
// interval of pixels plus the prefix sum of the next interval. Nothing is subtracted, so NaNs stay
// inside the windows that contain them.
//
// For each interval, the suffix sums are computed first, backwards from its end, and stored. The
// prefix sums are computed together with the outputs. Whatever the width of the window, each pixel
// is read twice, and each suffix sum is written and read once.
#ifndef BOXCONV_CORE_CUDA_BOX_CONV_SLIDE_CUH_
#define BOXCONV_CORE_CUDA_BOX_CONV_SLIDE_CUH_

#include "core/cuda/platform.cuh"
#include "core/geometry/box_window.h"

namespace boxconv {
namespace cuda {

// Windows with at most this many pixels in the middle are summed pixel by pixel, from registers.
constexpr int kShortMiddle = 12;

// A SlidingWindow with 32-bit positions. They are enough because planes_fit() limits the axes to
// kLongestAxis, and the values of a row in all channels to kLongestRow.
template <typename V>
struct LineWindow {
  int first, last, middle;
  V first_weight, weight, last_weight;
};
constexpr Index kLongestAxis = Index{1} << 29;
constexpr Index kLongestRow = Index{1} << 30;

template <typename V>
BOXCONV_DEVICE LineWindow<V> line_window(EdgeShift min, EdgeShift max, double factor, int count) {
  const SlidingWindow<V> w = sliding_window<V>(min, max, factor, count);
  return {static_cast<int>(w.first),
          static_cast<int>(w.last),
          static_cast<int>(w.middle),
          w.first_weight,
          w.weight,
          w.last_weight};
}

// The window of an empty box lies outside the line at every output.
template <typename V>
BOXCONV_DEVICE LineWindow<V> empty_window(int count) {
  return {count, count + 1, 0, V{0}, V{0}, V{0}};
}

// A compensated sum of short chains. Each chain starts with the rounding error of the total so far,
// so that long windows are as accurate as short ones.
template <typename V>
class ChainTotal {
 public:
  BOXCONV_DEVICE V begin_chain() const { return low_; }
  BOXCONV_DEVICE V with(V chain) const { return high_ + chain; }
  BOXCONV_DEVICE void add(V chain) {
    const V sum = high_ + chain, part = sum - high_;
    low_ = (high_ - (sum - part)) + (chain - part);
    // If the sum is infinite, low_ is NaN (infinity - infinity) and must not be carried on.
    if (!(low_ - low_ == 0)) low_ = 0;
    high_ = sum;
  }
  BOXCONV_DEVICE V value() const { return high_ + low_; }

 private:
  V high_ = 0, low_ = 0;
};

// The pixels of a line: raw(p) for 0 <= p < limit, otherwise zero. For threads without a line,
// limit is 0.
template <typename V, typename Raw>
struct Line {
  int count, limit;
  const Raw& raw;
  BOXCONV_DEVICE bool holds(int first, int pixels) const {
    return first >= 0 && first <= limit - pixels;
  }
  // kInside: the caller has checked that p lies inside the line.
  template <bool kInside = false>
  BOXCONV_DEVICE V pixel(int p) const {
    return kInside || (p >= 0 && p < limit) ? raw(p) : V{0};
  }
};

// Storage for the suffix sums of a line, one for each pixel. In place, they replace the pixels.
// Otherwise each is stored at the output that needs it, which may then replace it.
template <typename V, bool kInPlace>
struct SuffixSums {
  V* data;
  int step;
  BOXCONV_DEVICE V& at(int pixel, int output) const {
    return data[static_cast<Index>(kInPlace ? pixel : output) * step];
  }
};

// Computes outputs [begin, end) of a line. Calls emit(i, n, sums) with the sums at outputs
// i .. i + n - 1, where n <= kSteps, in ascending order. Threads of a warp with the same window and
// line length make the same calls. If not in place, other threads may compute the other outputs.
//
// kSteps pixels are handled at a time, by one of two copies of the code. The fast one, kInside, is
// for positions where no test of a border is needed, which are nearly all.
template <int kSteps, bool kInPlace, typename V, typename Raw>
class Slider {
 public:
  BOXCONV_DEVICE Slider(const LineWindow<V>& window, const Line<V, Raw>& line,
                        const SuffixSums<V, kInPlace>& suffix_sums, int begin, int end)
      : w_(window), line_(line), suffix_sums_(suffix_sums), begin_(begin), end_(end) {}

  template <typename Emit>
  BOXCONV_DEVICE void slide(Emit&& emit) const {
    if (w_.middle <= kShortMiddle) {
      slide_short(emit);
    } else {
      slide_long(emit);
    }
  }

 private:
  template <typename Emit>
  BOXCONV_DEVICE void slide_short(Emit& emit) const {
    for (int begin = begin_; begin < end_; begin += kSteps) {
      const int n = end_ - begin < kSteps ? end_ - begin : kSteps;
      V sums[kSteps];
      if (n == kSteps && line_.holds(begin + w_.first, kSteps + w_.middle + 1)) {
        sum_short<true>(begin, kSteps, sums);
      } else {
        sum_short<false>(begin, n, sums);
      }
      emit(begin, n, sums);
    }
  }

  template <bool kInside>
  BOXCONV_DEVICE void sum_short(int begin, int n, V* sums) const {
    V pixels[kSteps + kShortMiddle + 1];
    BOXCONV_UNROLL for (int k = 0; k < kSteps + kShortMiddle + 1; ++k) {
      pixels[k] =
          k < n + w_.middle + 1 ? line_.template pixel<kInside>(begin + w_.first + k) : V{0};
    }
    BOXCONV_UNROLL for (int k = 0; k < kSteps; ++k) sums[k] = w_.first_weight * pixels[k];
    BOXCONV_UNROLL for (int t = 1; t <= kShortMiddle + 1; ++t) {
      if (t > w_.middle + 1) continue;
      const V weight = t <= w_.middle ? w_.weight : w_.last_weight;
      BOXCONV_UNROLL for (int k = 0; k < kSteps; ++k) sums[k] += weight * pixels[k + t];
    }
  }

  // The part of a window from its first pixel to the end of the interval, if the window begins
  // before the line, or at its end.
  struct Beyond {
    V before, end;
  };

  template <typename Emit>
  BOXCONV_DEVICE void slide_long(Emit& emit) const {
    // In place, suffix sums replace the pixels. Keep those that are needed later.
    const V last_pixel = line_.pixel(line_.count - 1);
    V before_block = line_.pixel(begin_ + w_.first);
    for (int begin = begin_; begin < end_; begin += w_.middle) {
      const int block = begin + w_.first + 1;
      const V last_of_block = line_.pixel(block + w_.middle - 1);
      const Beyond beyond{make_suffixes(begin, before_block), w_.first_weight * last_pixel};
      add_prefixes(begin, beyond, emit);
      before_block = last_of_block;
    }
  }

  // Stores the suffix sums for outputs [begin, begin + middle), including the weighted first pixel.
  // Returns the suffix sum of windows that begin before the line.
  BOXCONV_DEVICE V make_suffixes(int begin, V before_block) const {
    const int block = begin + w_.first + 1, block_end = block + w_.middle;
    const int low = block > 0 ? block : 0;
    const int high = block_end < line_.count ? block_end : line_.count;
    ChainTotal<V> total;
    for (int top = high - 1; top >= low; top -= kSteps) {
      // All pixels lie in the line, after the first pixel of the interval, and this thread computes
      // the outputs.
      const bool is_inside = top - kSteps >= low && top < line_.limit && top - w_.first <= end_;
      if (is_inside) {
        suffixes<true>(top, low, block, before_block, &total);
      } else {
        suffixes<false>(top, low, block, before_block, &total);
      }
    }
    return w_.weight * total.value();
  }

  // Stores the suffix sums that begin at pixel `top` and at the kSteps - 1 pixels before it, but
  // not before `low`.
  template <bool kInside>
  BOXCONV_DEVICE void suffixes(int top, int low, int block, V before_block,
                               ChainTotal<V>* total) const {
    V pixels[kSteps + 1];
    BOXCONV_UNROLL for (int k = 0; k <= kSteps; ++k) {
      pixels[k] = kInside || top - k >= low ? line_.template pixel<kInside>(top - k) : V{0};
    }
    V chain = total->begin_chain();
    BOXCONV_UNROLL for (int k = 0; k < kSteps; ++k) {
      const int p = top - k, output = p - w_.first - 1;
      chain += pixels[k];
      // The pixel before the interval has been replaced already, hence before_block.
      const V left = !kInside && p == block ? before_block : pixels[k + 1];
      if (kInside || (p >= low && p < line_.limit && output < end_)) {
        suffix_sums_.at(p, output) = w_.first_weight * left + w_.weight * total->with(chain);
      }
    }
    total->add(chain);
  }

  BOXCONV_DEVICE V suffix(int output, const Beyond& beyond) const {
    const int p = output + w_.first + 1;
    if (p < 0) return beyond.before;
    if (p >= line_.count) return p == line_.count ? beyond.end : V{0};
    return p < line_.limit ? suffix_sums_.at(p, output) : V{0};
  }

  template <typename Emit>
  BOXCONV_DEVICE void add_prefixes(int begin, const Beyond& beyond, Emit& emit) const {
    const int end = end_ - begin < w_.middle ? end_ : begin + w_.middle;
    ChainTotal<V> total;
    for (int i = begin; i < end;) {
      const int aligned = (i / kSteps + 1) * kSteps, stop = aligned < end ? aligned : end;
      V sums[kSteps];
      if (stop - i == kSteps && line_.holds(i + w_.last, kSteps) &&
          line_.holds(i + w_.first + 1, kSteps)) {
        prefixes<true>(i, stop, beyond, &total, sums);
      } else {
        prefixes<false>(i, stop, beyond, &total, sums);
      }
      emit(i, stop - i, sums);
      i = stop;
    }
  }

  template <bool kInside>
  BOXCONV_DEVICE void prefixes(int i, int stop, const Beyond& beyond, ChainTotal<V>* total,
                               V* sums) const {
    V entering[kSteps], chain = total->begin_chain();
    BOXCONV_UNROLL for (int k = 0; k < kSteps; ++k) {
      const bool exists = kInside || i + k < stop;
      entering[k] = exists ? line_.template pixel<kInside>(i + k + w_.last) : V{0};
      sums[k] = kInside  ? suffix_sums_.at(i + k + w_.first + 1, i + k)
                : exists ? suffix(i + k, beyond)
                         : V{0};
    }
    BOXCONV_UNROLL for (int k = 0; k < kSteps; ++k) {
      sums[k] += w_.weight * total->with(chain) + w_.last_weight * entering[k];
      chain += entering[k];
    }
    total->add(chain);
  }

  const LineWindow<V>& w_;
  const Line<V, Raw>& line_;
  const SuffixSums<V, kInPlace>& suffix_sums_;
  const int begin_, end_;
};

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_BOX_CONV_SLIDE_CUH_
