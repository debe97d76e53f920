// A window that slides along one line of pixels, in eight outputs at a time.
//
// The windows of eight neighbouring outputs have most of their pixels in common, the core:
//
//     output i       [first| a1 a2 ... a7 |  core  |last]
//     output i + 1         [first| a2 ... a7 |  core  | b0 |last]
//     ...                                                             a: pixels i + first + 0..7
//     output i + 7               [first|  core  | b0 b1 ... b6 |last]  b: pixels i + last + 0..7
//
//     middle of output i + k  =  (a[k + 1] + ... + a[7])  +  core  +  (b[0] + ... + b[k - 1])
//
// Running sums from both sides give all eight in two additions each. The core consists of octets
// (pixels 8j to 8j + 7 of the line), whose sums are known, and of up to seven pixels at each end:
//
//     ........|........|........|........|........        the line in octets
//          [xx|   octets        |xxxx]                    core
//        `left`                 `right`
//
// From one group of outputs to the next the core moves by one octet. So `left` and `right` stay
// the same, and the pixels at its ends are pixels `a` of the next and `b` of the previous group.
// The sum of its octets is the only one from which anything is subtracted. The sum of an octet is
// the same number when it enters and when it leaves, and Pair keeps the rounding errors, so little
// remains of a large value that has left. After a NaN, an infinity or a huge value the octets
// are added anew. All of this costs the same for every window of more than seven pixels.
#ifndef BOXCONV_CORE_CUDA_BOX_CONV_SLIDE_CUH_
#define BOXCONV_CORE_CUDA_BOX_CONV_SLIDE_CUH_

#include "core/cuda/box_conv_plan.h"
#include "core/cuda/box_conv_windows.cuh"
#include "core/cuda/platform.cuh"

namespace boxconv {
namespace cuda {

// A sum in about twice the precision of V: `low` is the sum of the rounding errors of `high`
// (Knuth's TwoSum).
template <typename V>
class Pair {
 public:
  BOXCONV_DEVICE void add(V value) {
    const V sum = high_ + value, part = sum - high_;
    low_ += (high_ - (sum - part)) + (value - part);
    high_ = sum;
  }
  BOXCONV_DEVICE V value() const { return high_ + low_; }
  BOXCONV_DEVICE double wide() const {
    return static_cast<double>(high_) + static_cast<double>(low_);
  }
  // Whether a value has passed through the sum beside which usual values are lost. False for NaN.
  BOXCONV_DEVICE bool is_moderate() const {
    constexpr V kMax = sizeof(V) > sizeof(float) ? V(1e25) : V(1e9);
    return high_ <= kMax && high_ >= -kMax;
  }

 private:
  V high_ = 0, low_ = 0;
};

// The sum of consecutive octets of a line. `Line` is described below.
template <typename V, typename Line>
class RunningOctets {
 public:
  BOXCONV_DEVICE RunningOctets(const Line& line, int begin, int count)
      : line_(line), begin_(begin), count_(count) {
    add_all();
  }
  BOXCONV_DEVICE V value() const { return sum_.value(); }
  // Moves by one octet.
  BOXCONV_DEVICE void advance() {
    if (count_ == 0) return;
    sum_.add(line_.octet(begin_ + count_));
    sum_.add(-line_.octet(begin_));
    ++begin_;
    if (!sum_.is_moderate()) add_all();
  }

 private:
  BOXCONV_DEVICE void add_all() {
    sum_ = Pair<V>();
    const int first = begin_ > 0 ? begin_ : 0, end = begin_ + count_;
    const int stop = end < line_.octets ? end : line_.octets;
    for (int i = first; i < stop; ++i) sum_.add(line_.octet(i));
  }

  const Line& line_;
  int begin_;
  const int count_;
  Pair<V> sum_;
};

// pixel(0) + ... + pixel(count - 1), where count < 8. Chooses one of the eight possible sums, which
// takes fewer instructions than a condition for each pixel.
template <typename V, typename Pixel>
BOXCONV_DEVICE V sum_of_some(int count, const Pixel& pixel) {
  V sums[kGroup] = {0};
  BOXCONV_UNROLL for (int k = 1; k < kGroup; ++k) sums[k] = sums[k - 1] + pixel(k - 1);
  BOXCONV_UNROLL for (int bit = 1; bit < kGroup; bit *= 2) {
    BOXCONV_UNROLL for (int k = 0; k < kGroup; k += 2 * bit) {
      sums[k] = (count & bit) != 0 ? sums[k + bit] : sums[k];
    }
  }
  return sums[0];
}

// Calls emit(i, first, middle, last) for each group of outputs i .. i + 7 of [begin, end), where
// `begin` is a multiple of 8: first[k] and last[k] are the pixels at both ends of the window of
// output i + k, middle[k] is the sum of the pixels between. Without kSums, middle is not computed.
//
// `line` has the members
//   load(p, pixels)   loads pixels p .. p + 7; those outside of the line are zero
//   octet(j)          the sum of pixels 8j .. 8j + 7; zero outside of the line
//   octets            the number of octets, the last of which may end outside of the line
template <bool kSums, typename V, typename Line, typename Emit>
BOXCONV_DEVICE void slide(const Window<V>& w, const Line& line, int begin, int end,
                          const Emit& emit) {
  V first[kGroup], next[kGroup], middle[kGroup], last[kGroup] = {};
  const int core = w.middle - (kGroup - 1);  // pixels; negative if the core does not exist
  int left = -w.first & (kGroup - 1), right = w.last & (kGroup - 1);
  if (left + right > core) {  // the core lies inside one octet
    left = core > 0 ? core : 0;
    right = 0;
  }
  const int count = core > 0 ? (core - left - right) / kGroup : 0;
  RunningOctets<V, Line> octets(line, (begin + kGroup + w.first + left) >> 3, kSums ? count : 0);
  const auto right_end = [&] {
    return sum_of_some<V>(right, [&](int k) { return last[kGroup - 1 - k]; });
  };
  V core_end = 0;
  if (kSums && core >= 0) {
    line.load(begin - kGroup + w.last, last);
    core_end = right_end();
  }
  line.load(begin + w.first, first);
  BOXCONV_UNROLL_BY(2)  // so that registers need not be copied from `next` to `first`
  for (int i = begin; i < end; i += kGroup) {
    line.load(i + kGroup + w.first, next);
    line.load(i + w.last, last);
    if (kSums && core >= 0) {
      V sum = sum_of_some<V>(left, [&](int k) { return next[k]; });
      sum += octets.value() + core_end;
      BOXCONV_UNROLL for (int k = 0; k < kGroup; ++k) {
        middle[k] = sum;
        sum += last[k];
      }
      sum = 0;
      BOXCONV_UNROLL for (int k = kGroup - 1; k >= 0; --k) {
        middle[k] += sum;
        sum += first[k];
      }
      core_end = right_end();
      octets.advance();
    } else if (kSums) {
      BOXCONV_UNROLL for (int k = 0; k < kGroup; ++k) middle[k] = 0;
      BOXCONV_UNROLL for (int t = 1; t < kGroup - 1; ++t) {
        if (t > w.middle) continue;
        BOXCONV_UNROLL for (int k = 0; k < kGroup; ++k) {
          middle[k] += k + t < kGroup ? first[(k + t) % kGroup] : next[(k + t) % kGroup];
        }
      }
    }
    emit(i, first, middle, last);
    BOXCONV_UNROLL for (int k = 0; k < kGroup; ++k) first[k] = next[k];
  }
}

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_BOX_CONV_SLIDE_CUH_
