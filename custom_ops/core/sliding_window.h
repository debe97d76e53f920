// Sums over a window that slides along one axis: what two opposite edges of a box make of an image.
//
// A window of n pixels is the end of one block of n pixels and the beginning of the next, so its
// sum is a suffix sum of the one plus a prefix sum of the other (van Herk 1992, and Gil and Werman
// 1993, do this for maxima): about three additions a pixel whatever n. Nothing is ever subtracted,
// as it is from a summed-area table, so nothing outside the window can disturb it, be it a spike of
// 1e6, and float32 is enough. docs/notes/cpu_kernels.md has what else was tried.
#ifndef BOXCONV_CORE_SLIDING_WINDOW_H_
#define BOXCONV_CORE_SLIDING_WINDOW_H_

#include <utility>

#include "core/box_window.h"
#include "core/lanes.h"
#include "core/platform.h"
#include "core/prefetcher.h"

namespace boxconv {
namespace BOXCONV_ISA {

// Windows with a middle up to this are summed pixel by pixel.
constexpr int kDirectMiddle = 6;
// A chain of float additions no longer than this keeps its rounding well inside the 1e-5 promised.
constexpr Index kChain = 64;

// Slides windows along kVectors vectors of neighbouring lines at once, one line to a lane. Two hide
// the latency of each other's chain of additions.
template <typename V, int kVectors>
class WindowSlider {
 public:
  static constexpr Index kLines = kVectors * kLanes<V>;

  // Room that suffix sums need.
  static Index suffix_size(Index length) { return (length + 1) * kLines; }

  explicit WindowSlider(V* suffix) : suffix_(suffix) {}

  // out[i * out_step + line] = the window's sum at output i < count of a line that has its pixel p,
  // of `length` pixels, at in[p * in_step + line].
  void slide(const SlidingWindow<V>& w, const V* in, Index in_step, Index length, V* out,
             Index out_step, Index count, Prefetcher* prefetcher) const {
    const Call call{w, in, in_step, length, out, out_step, prefetcher};
    // The windows of other outputs lie beside the line.
    const Index begin = clamp_index(-w.last, 0, count);
    const Index end = clamp_index(length - w.first, begin, count);
    zero(call, 0, begin);
    if (w.middle <= kDirectMiddle) {
      direct_of(call, begin, end, std::make_integer_sequence<int, kDirectMiddle + 1>());
    } else {
      blocks(call, begin, end);
    }
    zero(call, end, count);
  }

 private:
  struct Call {
    const SlidingWindow<V>& w;
    const V* in;
    Index in_step, length;
    V* out;
    Index out_step;
    Prefetcher* prefetcher;
  };

  struct Lines {
    Vector<V> v[kVectors] = {};

    BOXCONV_HOST_DEVICE static Lines load(const V* from) {
      Lines lines;
      for (int i = 0; i < kVectors; ++i) lines.v[i] = load_vector(from + i * kLanes<V>);
      return lines;
    }
    BOXCONV_HOST_DEVICE void store(V* to) const {
      for (int i = 0; i < kVectors; ++i) store_vector<V>(v[i], to + i * kLanes<V>);
    }
    BOXCONV_HOST_DEVICE Lines& operator+=(const Lines& other) {
      for (int i = 0; i < kVectors; ++i) v[i] += other.v[i];
      return *this;
    }
    BOXCONV_HOST_DEVICE Lines& operator*=(V factor) {
      for (int i = 0; i < kVectors; ++i) v[i] *= factor;
      return *this;
    }
    BOXCONV_HOST_DEVICE void add_product(V factor, const Lines& other) {
      for (int i = 0; i < kVectors; ++i) v[i] += factor * other.v[i];
    }
    BOXCONV_HOST_DEVICE friend Lines operator+(Lines a, const Lines& b) { return a += b; }
  };

  static void zero(const Call& call, Index begin, Index end) {
    for (Index i = begin; i < end; ++i) Lines().store(call.out + i * call.out_step);
  }

  // Calls direct<w.middle>.
  template <int... kMiddles>
  static void direct_of(const Call& call, Index begin, Index end,
                        std::integer_sequence<int, kMiddles...>) {
    (void)((call.w.middle == kMiddles ? (direct<kMiddles>(call, begin, end), true) : false) || ...);
  }

  template <int kMiddle>
  static void direct(const Call& call, Index begin, Index end) {
    const Index inside = clamp_index(-call.w.first, begin, end);
    const Index beyond = clamp_index(call.length - call.w.last, inside, end);
    direct_range<kMiddle, true>(call, begin, inside);
    direct_range<kMiddle, false>(call, inside, beyond);
    direct_range<kMiddle, true>(call, beyond, end);
  }

  // kChecked: some of the window may lie beside the line.
  template <int kMiddle, bool kChecked>
  static void direct_range(const Call& call, Index begin, Index end) {
    Prefetcher prefetcher = *call.prefetcher;
#pragma GCC unroll 2
    for (Index i = begin; i < end; ++i) {
      const Index first = i + call.w.first;
      const auto pixel = [&](Index p) {
        return kChecked && !inside(p, call.length) ? Lines()
                                                   : Lines::load(call.in + p * call.in_step);
      };
      Lines sum;
      for (int p = 1; p <= kMiddle; ++p) sum += pixel(first + p);
      sum *= call.w.weight;
      sum.add_product(call.w.first_weight, pixel(first));
      sum.add_product(call.w.last_weight, pixel(first + kMiddle + 1));
      sum.store(call.out + i * call.out_step);
      prefetcher.next();
    }
    *call.prefetcher = prefetcher;
  }

  // h = i + w.last walks over the pixels that enter the middle next. The first block ends where the
  // first window does, so that its suffix sums serve at once, and none are made in vain.
  void blocks(const Call& call, Index begin, Index end) const {
    const Index n = call.w.middle, last = end + call.w.last;
    for (Index block = begin + call.w.last; block < last; block += n) {
      const Index stop = smaller(block + n, last), before = larger(block - n, 0);
      make_suffix(call, before, smaller(block, call.length));
      // Windows that begin at the line's first pixel, or before it, leave nothing behind.
      const Index inner = clamp_index(n + 1, block, stop);
      const Lines prefix = run_range<false>(call, suffix_, 0, block, inner, Lines());
      if (inner < stop) {
        run_range<true>(call, suffix_ + (inner - n - before) * kLines, kLines, inner, stop, prefix);
      }
    }
  }

  // suffix[j] = sum of the pixels [begin + j, end), for begin + j <= end.
  void make_suffix(const Call& call, Index begin, Index end) const {
    Lines total;
    total.store(suffix_ + (end - begin) * kLines);
    for (Index chunk = end; chunk > begin; chunk -= kChain) {
      Lines chain;
      const Index stop = larger(chunk - kChain, begin);
#pragma GCC unroll 4
      for (Index p = chunk - 1; p >= stop; --p) {
        chain += Lines::load(call.in + p * call.in_step);
        (total + chain).store(suffix_ + (p - begin) * kLines);
      }
      total += chain;
    }
  }

  // Outputs whose h is in [begin, end), all in one block, given the block's prefix sum up to begin;
  // returns that up to end. `suffix` is what the block before adds to the first of them, and
  // suffix_step how far the next one's lies. kLeaving: a pixel of the line lies before the middle.
  template <bool kLeaving>
  Lines run_range(const Call& call, const V* suffix, Index suffix_step, Index begin, Index end,
                  Lines prefix) const {
    const Index inside = clamp_index(call.length, begin, end);
    prefix = run<kLeaving, true>(call, suffix, suffix_step, begin, inside, prefix);
    suffix += (inside - begin) * suffix_step;
    return run<kLeaving, false>(call, suffix, suffix_step, inside, end, prefix);
  }

  // kEntering: the pixels h are part of the line.
  template <bool kLeaving, bool kEntering>
  Lines run(const Call& call, const V* suffix, Index suffix_step, Index begin, Index end,
            Lines prefix) const {
    const SlidingWindow<V>& w = call.w;
    Prefetcher prefetcher = *call.prefetcher;
    for (Index chunk = begin; chunk < end; chunk += kChain) {
      Lines chain;
      const V* entering = call.in + chunk * call.in_step;
      const V* leaving = call.in + (chunk - w.middle - 1) * call.in_step;
      V* out = call.out + (chunk - w.last) * call.out_step;
#pragma GCC unroll 4
      for (Index left = smaller(kChain, end - chunk); left > 0; --left) {
        Lines total = prefix + chain;
        total += Lines::load(suffix);
        total *= w.weight;
        if (kLeaving) total.add_product(w.first_weight, Lines::load(leaving));
        if (kEntering) {
          const Lines pixel = Lines::load(entering);
          total.add_product(w.last_weight, pixel);
          chain += pixel;
        }
        total.store(out);
        prefetcher.next();
        entering += call.in_step;
        leaving += call.in_step;
        suffix += suffix_step;
        out += call.out_step;
      }
      prefix += chain;
    }
    *call.prefetcher = prefetcher;
    return prefix;
  }

  V* suffix_;
};

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_SLIDING_WINDOW_H_
