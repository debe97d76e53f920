// A window slid along one line by one thread: the GPU's counterpart of sliding_window.h, and the
// same arithmetic. Nothing is subtracted, so float is enough and a NaN stays where it belongs.
//
// Windows with a long middle of n pixels use blocks of n pixels (van Herk; Gil and Werman): the
// outputs of one group of n need the suffix sums of one block, made backwards first, and the prefix
// sums of the next, made on the way. That is two reads of each pixel, and a write and a read of its
// suffix sum, whatever n.
#ifndef BOXCONV_CORE_BOX_CONV_SLIDE_CUH_
#define BOXCONV_CORE_BOX_CONV_SLIDE_CUH_

#include "core/box_window.h"
#include "core/cuda_platform.cuh"

namespace boxconv {
namespace BOXCONV_ISA {

// Windows with a middle up to this are summed pixel by pixel, from registers.
constexpr int kShortMiddle = 12;

// The window in the 32 bits that a line's positions fit in; axes are bounded by kLongestAxis.
template <typename V>
struct LineWindow {
  int first, last, middle;
  V first_weight, weight, last_weight;
};
constexpr Index kLongestAxis = Index{1} << 29;

template <typename V>
BOXCONV_DEVICE LineWindow<V> line_window(EdgeShift low, EdgeShift high, double scale, int count) {
  const SlidingWindow<V> w = sliding_window<V>(low, high, scale, count);
  return {static_cast<int>(w.first),
          static_cast<int>(w.last),
          static_cast<int>(w.middle),
          w.first_weight,
          w.weight,
          w.last_weight};
}

// The window of an empty box: beside the line at every output.
template <typename V>
BOXCONV_DEVICE LineWindow<V> empty_window(int count) {
  return {count, count + 1, 0, V{0}, V{0}, V{0}};
}

// A sum of short chains, which carries the rounding of each addition along: long windows are as
// exact as short ones.
template <typename V>
class ChainTotal {
 public:
  BOXCONV_DEVICE void add(V chain) {
    const V sum = high_ + chain, part = sum - high_;
    low_ += (high_ - (sum - part)) + (chain - part);
    // An infinite sum has no rounding to carry, and infinity minus itself would be one.
    if (!(low_ - low_ == 0)) low_ = 0;
    high_ = sum;
  }
  BOXCONV_DEVICE V with(V chain) const { return high_ + (low_ + chain); }

 private:
  V high_ = 0, low_ = 0;
};

// A line's pixels: raw(p) for 0 <= p < limit, zero elsewhere. A thread without a line has limit 0.
template <typename V, typename Raw>
struct Line {
  int count, limit;
  const Raw& raw;
  BOXCONV_DEVICE V pixel(int p) const { return p >= 0 && p < limit ? raw(p) : V{0}; }
};

// Where suffix sums wait until they are needed: one value for each pixel of the line, owned by the
// thread. In place, they replace the pixels themselves; otherwise they lie at the outputs that need
// them, which may replace them in turn.
template <typename V, bool kInPlace>
struct Slots {
  V* data;
  Index step;
  BOXCONV_DEVICE V& at(int pixel, int output) const {
    return data[(kInPlace ? pixel : output) * step];
  }
};

// Slides over outputs [begin, end) of the line. Out of place, other threads may have the others.
// emit(i, n, sums): the windows' sums at outputs i .. i + n - 1, n <= kSteps. All threads of a warp
// that slide the same window along lines of one length make the same calls, in ascending order.
template <int kSteps, bool kInPlace, typename V, typename Raw>
class Slider {
 public:
  BOXCONV_DEVICE Slider(const LineWindow<V>& window, const Line<V, Raw>& line,
                        const Slots<V, kInPlace>& slots, int begin, int end)
      : w_(window), line_(line), slots_(slots), begin_(begin), end_(end) {}

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
      V pixels[kSteps + kShortMiddle + 1], middles[kSteps], sums[kSteps];
      BOXCONV_UNROLL for (int k = 0; k < kSteps + kShortMiddle + 1; ++k) {
        pixels[k] = k < n + w_.middle + 1 ? line_.pixel(begin + w_.first + k) : V{0};
      }
      BOXCONV_UNROLL for (int k = 0; k < kSteps; ++k) {
        middles[k] = 0;
        sums[k] = w_.first_weight * pixels[k];
      }
      BOXCONV_UNROLL for (int t = 1; t <= kShortMiddle + 1; ++t) {
        if (t <= w_.middle) {
          BOXCONV_UNROLL for (int k = 0; k < kSteps; ++k) middles[k] += pixels[k + t];
        } else if (t == w_.middle + 1) {
          BOXCONV_UNROLL for (int k = 0; k < kSteps; ++k) {
            sums[k] += w_.last_weight * pixels[k + t];
          }
        }
      }
      if (w_.middle > 0) {
        BOXCONV_UNROLL for (int k = 0; k < kSteps; ++k) sums[k] += w_.weight * middles[k];
      }
      emit(begin, n, sums);
    }
  }

  // What is left of a window that begins at or after a line's end, or before its beginning.
  struct Beyond {
    V before, end;
  };

  template <typename Emit>
  BOXCONV_DEVICE void slide_long(Emit& emit) const {
    // In place, pixels vanish: those that a later block still needs are kept here.
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

  // The suffix sums that outputs [begin, begin + middle) need, their first fraction included.
  // Returns that of windows that begin before the line.
  BOXCONV_DEVICE V make_suffixes(int begin, V before_block) const {
    const int block = begin + w_.first + 1, block_end = block + w_.middle;
    const int low = block > 0 ? block : 0;
    const int high = block_end < line_.count ? block_end : line_.count;
    ChainTotal<V> total;
    for (int top = high - 1; top >= low; top -= kSteps) {
      V pixels[kSteps + 1];
      BOXCONV_UNROLL for (int k = 0; k <= kSteps; ++k) {
        pixels[k] = top - k >= low ? line_.pixel(top - k) : V{0};
      }
      V chain = 0;
      BOXCONV_UNROLL for (int k = 0; k < kSteps; ++k) {
        const int p = top - k, output = p - w_.first - 1;
        chain += pixels[k];
        // A block begins either inside the line, after before_block, or at the line's first pixel.
        const V left = p == block ? before_block : pixels[k + 1];
        if (p >= low && p < line_.limit && output < end_) {
          slots_.at(p, output) = w_.first_weight * left + w_.weight * total.with(chain);
        }
      }
      total.add(chain);
    }
    return w_.weight * total.with(0);
  }

  BOXCONV_DEVICE V suffix(int output, const Beyond& beyond) const {
    const int p = output + w_.first + 1;
    if (p < 0) return beyond.before;
    if (p >= line_.count) return p == line_.count ? beyond.end : V{0};
    return p < line_.limit ? slots_.at(p, output) : V{0};
  }

  template <typename Emit>
  BOXCONV_DEVICE void add_prefixes(int begin, const Beyond& beyond, Emit& emit) const {
    const int end = end_ - begin < w_.middle ? end_ : begin + w_.middle;
    ChainTotal<V> prefix;
    for (int i = begin; i < end;) {
      const int aligned = (i / kSteps + 1) * kSteps, stop = aligned < end ? aligned : end;
      V entering[kSteps], sums[kSteps], chain = 0;
      BOXCONV_UNROLL for (int k = 0; k < kSteps; ++k) {
        entering[k] = i + k < stop ? line_.pixel(i + k + w_.last) : V{0};
        sums[k] = i + k < stop ? suffix(i + k, beyond) : V{0};
      }
      BOXCONV_UNROLL for (int k = 0; k < kSteps; ++k) {
        sums[k] += w_.weight * prefix.with(chain) + w_.last_weight * entering[k];
        chain += entering[k];
      }
      prefix.add(chain);
      emit(i, stop - i, sums);
      i = stop;
    }
  }

  const LineWindow<V>& w_;
  const Line<V, Raw>& line_;
  const Slots<V, kInPlace>& slots_;
  const int begin_, end_;
};

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_BOX_CONV_SLIDE_CUH_
