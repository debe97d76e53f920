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

// Slides windows along kLines neighbouring lines at once, one to a lane. Where those are two
// vectors they hide the latency of each other's chain of additions.
template <typename V, int kLines>
class WindowSlider {
 public:
  // Room that suffix sums need.
  static Index suffix_size(Index length) { return (length + 1) * kLines; }

  explicit WindowSlider(V* suffix) : suffix_(suffix) {}

  // out[i * out_step + line] = the window's sum at output i < count of a line that has its pixel p,
  // of `length` pixels, at in[p * in_step + line].
  void slide(const SlidingWindow<V>& w, const V* in, Index in_step, Index length, V* out,
             Index out_step, Index count, Prefetcher* prefetcher) const {
    // A copy whose address nobody has: compilers keep its members in registers.
    const Call call{w, in, in_step, length, out, out_step};
    Prefetcher ahead = *prefetcher;
    // The windows of other outputs lie beside the line.
    const Index begin = clamp_index(-w.last, 0, count);
    const Index end = clamp_index(length - w.first, begin, count);
    zero(call, 0, begin);
    if (w.middle <= kDirectMiddle) {
      direct_of(call, begin, end, &ahead, std::make_integer_sequence<int, kDirectMiddle + 2>());
    } else {
      blocks(call, begin, end, &ahead);
    }
    zero(call, end, count);
    *prefetcher = ahead;
  }

 private:
  struct Call {
    const SlidingWindow<V> w;
    const V* const in;
    const Index in_step, length;
    V* const out;
    const Index out_step;
  };

  // A value of each line.
  struct Lines {
    static constexpr int kWide = kLines < kWidest<V> ? kLines : kWidest<V>;
    static constexpr int kVectors = kLines / kWide;
    Vector<V, kWide> v[kVectors] = {};

    BOXCONV_HOST_DEVICE static Lines load(const V* from) {
      Lines lines;
      for (int i = 0; i < kVectors; ++i) lines.v[i] = load_vector<V, kWide>(from + i * kWide);
      return lines;
    }
    BOXCONV_HOST_DEVICE void store(V* to) const {
      for (int i = 0; i < kVectors; ++i) store_vector<V, kWide>(v[i], to + i * kWide);
    }
    BOXCONV_HOST_DEVICE Lines& operator+=(const Lines& other) {
      for (int i = 0; i < kVectors; ++i) v[i] += other.v[i];
      return *this;
    }
    BOXCONV_HOST_DEVICE Lines& operator*=(V factor) {
      for (int i = 0; i < kVectors; ++i) v[i] *= factor;
      return *this;
    }
    BOXCONV_HOST_DEVICE Lines& add_product(V factor, const Lines& other) {
      for (int i = 0; i < kVectors; ++i) v[i] += factor * other.v[i];
      return *this;
    }
    BOXCONV_HOST_DEVICE friend Lines operator+(Lines a, const Lines& b) { return a += b; }
    BOXCONV_HOST_DEVICE friend Lines operator*(V factor, Lines a) { return a *= factor; }
  };

  static void zero(const Call& call, Index begin, Index end) {
    for (Index i = begin; i < end; ++i) Lines().store(call.out + i * call.out_step);
  }

  // Calls direct<w.middle>; kNext are the possible middles plus one.
  template <int... kNext>
  static void direct_of(const Call& call, Index begin, Index end, Prefetcher* prefetcher,
                        std::integer_sequence<int, kNext...>) {
    (void)((call.w.middle == kNext - 1 ? (direct<kNext - 1>(call, begin, end, prefetcher), true)
                                       : false) ||
           ...);
  }

  // With a middle of -1 the pixel read as the last is the first again.
  template <int kMiddle>
  static void direct(const Call& call, Index begin, Index end, Prefetcher* prefetcher) {
    const Index inside = clamp_index(-call.w.first, begin, end);
    const Index beyond = clamp_index(call.length - call.w.last, inside, end);
    direct_range<kMiddle, true>(call, begin, inside, prefetcher);
    direct_range<kMiddle, false>(call, inside, beyond, prefetcher);
    direct_range<kMiddle, true>(call, beyond, end, prefetcher);
  }

  // kChecked: some of the window may lie beside the line.
  template <int kMiddle, bool kChecked>
  static void direct_range(const Call call, Index begin, Index end, Prefetcher* prefetcher) {
    Prefetcher ahead = *prefetcher;
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
      ahead.next();
    }
    *prefetcher = ahead;
  }

  // h = i + w.last walks over the pixels that enter the middle next. The first block ends where the
  // first window does, so that its suffix sums serve at once, and none are made in vain.
  void blocks(const Call& call, Index begin, Index end, Prefetcher* prefetcher) const {
    const Index n = call.w.middle, last = end + call.w.last;
    for (Index block = begin + call.w.last; block < last; block += n) {
      const Index stop = smaller(block + n, last), before = larger(block - n, 0);
      make_suffix(call, suffix_, before, smaller(block, call.length));
      // Windows that begin at the line's first pixel, or before it, all have that pixel's suffix.
      const Index inner = clamp_index(n, block, stop);
      const Lines prefix = run_range(call, suffix_, 0, block, inner, Lines(), prefetcher);
      run_range(call, suffix_ + (inner - n - before) * kLines, kLines, inner, stop, prefix,
                prefetcher);
    }
  }

  // suffix[p - begin] for begin <= p <= end: what the pixels [p, end) of the middle, and the pixel
  // before them, add to a window.
  static void make_suffix(const Call call, V* suffix, Index begin, Index end) {
    Lines total, pixel;
    if (end > 0) pixel = Lines::load(call.in + (end - 1) * call.in_step);
    (call.w.first_weight * pixel).store(suffix + (end - begin) * kLines);
    const V* in = call.in + (end - 2) * call.in_step;
    V* out = suffix + (end - begin - 1) * kLines;
    // Nothing lies before the line's first pixel.
    const Index first = larger(begin, 1);
    const auto put = [&](const Lines& sum) {
      (call.w.weight * (total + sum)).add_product(call.w.first_weight, pixel).store(out);
      out -= kLines;
    };
    const auto next = [&] {
      const Lines before = Lines::load(in);
      in -= call.in_step;
      return before;
    };
    for (Index p = end; p > first;) {
      Lines chain;
      const Index stop = larger(p - kChain, first);
      // Two at a time: the chain of additions is half as long.
      for (; p - 1 > stop; p -= 2) {
        const Lines one = pixel;
        pixel = next();
        put(chain + one);
        const Lines both = one + pixel;
        chain += both;
        pixel = next();
        put(chain);
      }
      if (p > stop) {
        chain += pixel;
        pixel = next();
        put(chain);
        --p;
      }
      total += chain;
    }
    if (begin < first && end > 0) (call.w.weight * (total + pixel)).store(out);
  }

  // Outputs whose h is in [begin, end), all in one block, given the block's prefix sum up to begin;
  // returns that up to end. `suffix` is what the block before adds to the first of them, and
  // suffix_step how far the next one's lies.
  static Lines run_range(const Call& call, const V* suffix, Index suffix_step, Index begin,
                         Index end, Lines prefix, Prefetcher* prefetcher) {
    const Index inside = clamp_index(call.length, begin, end);
    prefix = run<true>(call, suffix, suffix_step, begin, inside, prefix, prefetcher);
    suffix += (inside - begin) * suffix_step;
    return run<false>(call, suffix, suffix_step, inside, end, prefix, prefetcher);
  }

  // kEntering: the pixels h are part of the line.
  template <bool kEntering>
  static Lines run(const Call call, const V* suffix, Index suffix_step, Index begin, Index end,
                   Lines prefix, Prefetcher* prefetcher) {
    Prefetcher ahead = *prefetcher;
    const V* entering = call.in + begin * call.in_step;
    V* out = call.out + (begin - call.w.last) * call.out_step;
    const auto next = [&] {
      Lines pixel;
      if (kEntering) pixel = Lines::load(entering);
      entering += call.in_step;
      return pixel;
    };
    const auto put = [&](const Lines& sum, const Lines& pixel) {
      Lines total = Lines::load(suffix).add_product(call.w.weight, prefix + sum);
      if (kEntering) total.add_product(call.w.last_weight, pixel);
      total.store(out);
      ahead.next();
      suffix += suffix_step;
      out += call.out_step;
    };
    for (Index h = begin; h < end;) {
      Lines chain;
      const Index stop = smaller(h + kChain, end);
      for (; h + 1 < stop; h += 2) {
        const Lines one = next(), other = next();
        put(chain, one);
        put(chain + one, other);
        chain += one + other;
      }
      if (h < stop) {
        const Lines one = next();
        put(chain, one);
        chain += one;
        ++h;
      }
      prefix += chain;
    }
    *prefetcher = ahead;
    return prefix;
  }

  V* suffix_;
};

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_SLIDING_WINDOW_H_
