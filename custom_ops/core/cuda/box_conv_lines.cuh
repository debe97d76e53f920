// Warps slide windows along lines in shared memory. Each lane holds a chunk of a line in registers,
// and lanes exchange sums of chunks by shuffles. Nothing is subtracted, so NaNs stay inside the
// windows that contain them. Sums of chunks form a tree, so long windows are as accurate as short
// ones.
//
// The window at output i is cut at a border between its first and its last pixel. The sum is
// left(i + first + 1) + right(i + last), with
//
//   left(p)  = first_weight * pixel[p - 1] + weight * (pixels from p up to the border),
//   right(q) = weight * (pixels from the border up to q - 1) + last_weight * pixel[q].
//
// The lane that holds pixel p computes left(p) and stores it at its output; the lane that holds q
// adds right(q). A window inside one pixel (`middle` is -1) has no last pixel.
//
// All lanes execute the same instructions, although the boxes may differ from line to line. Only
// windows whose middle is shorter than a chunk take another path, at about the same cost.
#ifndef BOXCONV_CORE_CUDA_BOX_CONV_LINES_CUH_
#define BOXCONV_CORE_CUDA_BOX_CONV_LINES_CUH_

#include <cstdint>
#include <type_traits>

#include "core/cuda/box_conv_plan.h"
#include "core/cuda/box_conv_slide.cuh"
#include "core/cuda/platform.cuh"

namespace boxconv {
namespace cuda {

// The lines of all channels of a block.
template <typename V>
struct Lines {
  V* data;
  int count, of_channel;  // lines in total, and of each channel
  int channel_stride, line_stride, pixel_stride, length;
};

// The chunk of a line that a lane holds.
struct ChunkPlace {
  int lane, chunk, chunks;

  BOXCONV_DEVICE bool has(int other) const { return other >= 0 && other < chunks; }
  // The value in the lane of another chunk of the line, or zero outside the line. All lanes of the
  // warp must call it; for lanes without a line the result is undefined.
  template <typename V>
  BOXCONV_DEVICE V from(V value, int other) const {
    const V taken = warp_value(value, (lane - chunk + other) & (kWarp - 1));
    return has(other) ? taken : V{0};
  }
};

// A bit for each pixel of a chunk.
using Bits = std::uint64_t;

// The bits of pixels [begin, end).
template <int kPixels>
BOXCONV_DEVICE Bits pixel_bits(int begin, int end) {
  const int low = begin < 0 ? 0 : begin < kPixels ? begin : kPixels;
  const int high = end < low ? low : end < kPixels ? end : kPixels;
  return (Bits{1} << high) - (Bits{1} << low);
}

// The pixel `bytes` bytes further on. Steps in values would take one more instruction.
template <typename V>
BOXCONV_DEVICE V* stepped(V* pixel, int bytes) {
  using Byte = std::conditional_t<std::is_const_v<V>, const char, char>;
  return reinterpret_cast<V*>(reinterpret_cast<Byte*>(pixel) + bytes);
}

template <typename V>
class LineScan {
 public:
  static constexpr int kPixels = kChunk<V>;

  BOXCONV_DEVICE LineScan(const ChunkPlace& place, const LineWindow<V>& window, V* line, int step,
                          int length, bool exists)
      : at_(place),
        w_(window),
        line_(line),
        step_(step * static_cast<int>(sizeof(V))),
        length_(length),
        exists_(exists) {}

  // Replaces the line by the window's sums. All lanes of the warp must call it.
  BOXCONV_DEVICE void run() const {
    V pixels[kPixels];
    const V* place = stepped(line_, start() * step_);
    const Bits own = pixels_at(start());
    BOXCONV_UNROLL for (int k = 0; k < kPixels; ++k, place = stepped(place, step_)) {
      pixels[k] = own >> k & 1 ? *place : V{0};
    }
    if (warp_any(is_short())) {
      run_with<true>(pixels, own);
    } else {
      run_with<false>(pixels, own);
    }
  }

 private:
  // Values that a chunk needs from the other chunks of its line.
  struct Sums {
    // Weighted sum of the whole line.
    V line = 0;
    // Short middles: sums restart at pixels whose bit is set (the chunk's pixels and the next one).
    // Up to the first restart, they include sums of the chunk behind or before.
    Bits borders = 0;
    V behind = 0, before = 0;
    // Long middles: weighted sum of the chunks strictly between the first and the last chunk of a
    // window. It is `fewer` if the window begins before pixel `later` of the chunk, otherwise
    // `more`.
    V fewer = 0, more = 0;
    int later = kPixels;
    // left() of windows that begin before the line and end in this chunk. It is `near` if they end
    // before pixel `split` of the chunk, otherwise `far`.
    V near = 0, far = 0;
    int split = 0;
  };

  BOXCONV_DEVICE bool is_short() const { return w_.middle < kPixels; }
  BOXCONV_DEVICE int start() const { return at_.chunk * kPixels; }
  // A bit for each of the outputs first, first + 1, ... that exists.
  BOXCONV_DEVICE Bits pixels_at(int first) const {
    return exists_ ? pixel_bits<kPixels>(-first, length_ - first) : 0;
  }

  // kAnyShort: some of the warp's windows may be short.
  template <bool kAnyShort>
  BOXCONV_DEVICE void run_with(const V* pixels, Bits own) const {
    Sums sums;
    if (kAnyShort) sum_short(pixels, &sums);
    if (!kAnyShort || warp_any(!is_short())) sum_long(pixels, &sums);
    const V pixel_before = at_.from(pixels[kPixels - 1], at_.chunk - 1);
    // All lanes have read the line, so it may now be overwritten.
    __syncwarp();
    store_outside(own, sums);
    store_left<kAnyShort>(pixels, pixel_before, sums);
    __syncwarp();
    add_right<kAnyShort>(pixels, sums);
  }

  // Middles shorter than a chunk: prefix and suffix sums between borders that are `middle` pixels
  // apart (van Herk; Gil and Werman). The last border is the end of the last chunk.
  BOXCONV_DEVICE void sum_short(const V* pixels, Sums* sums) const {
    const int n = is_short() && w_.middle > 0 ? w_.middle : 1;
    Bits borders = 1;
    for (int step = n; step <= kPixels; step *= 2) borders |= borders << step;
    borders <<= (at_.chunks - at_.chunk) * kPixels % n;
    V head = 0, tail = 0;  // sums of the chunk up to its first border, and from its last one
    BOXCONV_UNROLL for (int k = kPixels - 1; k >= 0; --k) {
      head = pixels[k] + (borders >> (k + 1) & 1 ? V{0} : head);
    }
    BOXCONV_UNROLL for (int k = 0; k < kPixels; ++k) {
      tail = pixels[k] + (borders >> k & 1 ? V{0} : tail);
    }
    sums->behind = at_.from(head, at_.chunk + 1);
    sums->before = at_.from(tail, at_.chunk - 1);
    sums->borders = borders;
    // Windows that begin before the line end in the first chunk. Only the interval before the first
    // border contributes to their left().
    const int border = at_.chunks * kPixels % n;
    if (w_.middle > 0 && border > 0) sums->far = w_.weight * head;
    sums->split = border;
  }

  // Longer middles: the rest of the first chunk, whole chunks, and the beginning of the last one.
  BOXCONV_DEVICE void sum_long(const V* pixels, Sums* sums) const {
    V total = 0;
    BOXCONV_UNROLL for (int k = 0; k < kPixels; ++k) total += pixels[k];
    const int n = is_short() ? kPixels : w_.middle, whole = n / kPixels;
    const V fewer = sum_of_chunks(total, whole - 1);
    const V more = fewer + at_.from(total, at_.chunk + whole);
    for (int span = 1; span < at_.chunks; span *= 2) total += at_.from(total, at_.chunk - span);
    const V before = at_.from(total, at_.chunk - 1), line = at_.from(total, at_.chunks - 1);
    if (is_short()) return;
    sums->borders = 0;
    sums->behind = sums->before = 0;
    sums->fewer = w_.weight * fewer;
    sums->more = w_.weight * more;
    sums->later = kPixels - n % kPixels;
    sums->near = sums->far = w_.weight * before;
    sums->line = w_.weight * line;
  }

  // The sum of the totals of up to `count` chunks behind this one.
  BOXCONV_DEVICE V sum_of_chunks(V total, int count) const {
    const int wanted = count < at_.chunks - 1 ? count : at_.chunks - 1;
    V sum = 0, power = total;  // of 1, 2, 4, ... chunks
    int chunk = at_.chunk + 1;
    for (int span = 1; span < at_.chunks; span *= 2) {
      const V taken = at_.from(power, chunk);
      if (wanted & span) {
        sum += taken;
        chunk += span;
      }
      power += at_.from(power, at_.chunk + span);
    }
    return sum;
  }

  // Outputs whose windows neither begin nor end inside the line contain all of it or nothing. They
  // are rare.
  BOXCONV_DEVICE void store_outside(Bits own, const Sums& sums) const {
    const int end = at_.chunks * kPixels, first = -w_.first - 1 - start(),
              last = -w_.last - start();
    const Bits outside =
        own & ~pixel_bits<kPixels>(first, first + end) & ~pixel_bits<kPixels>(last, last + end);
    if (!warp_any(outside != 0)) return;
    const V value = w_.first < -1 && w_.last > 0 ? sums.line : V{0};
    V* place = stepped(line_, start() * step_);
    BOXCONV_UNROLL for (int k = 0; k < kPixels; ++k, place = stepped(place, step_)) {
      if (outside >> k & 1) *place = value;
    }
  }

  template <bool kAnyShort>
  BOXCONV_DEVICE void store_left(const V* pixels, V pixel_before, const Sums& sums) const {
    const bool has_middle = !kAnyShort || w_.middle > 0;
    const int output = start() - w_.first - 1;
    const Bits exist = pixels_at(output);
    V* place = stepped(line_, (output + kPixels - 1) * step_);
    V suffix = kAnyShort ? sums.behind : V{0};
    BOXCONV_UNROLL for (int k = kPixels - 1; k >= 0; --k, place = stepped(place, -step_)) {
      if (kAnyShort && sums.borders >> (k + 1) & 1) suffix = 0;
      suffix += pixels[k];
      V left = k >= sums.later ? sums.more : sums.fewer;
      if (has_middle) left += w_.weight * suffix;
      left += w_.first_weight * (k > 0 ? pixels[k > 0 ? k - 1 : 0] : pixel_before);
      if (exist >> k & 1) *place = left;
    }
  }

  template <bool kAnyShort>
  BOXCONV_DEVICE void add_right(const V* pixels, const Sums& sums) const {
    const bool has_middle = !kAnyShort || w_.middle > 0;
    const int output = start() - w_.last;
    const Bits exist = pixels_at(output);
    const Bits stored = exist & ~pixel_bits<kPixels>(0, w_.middle - start());
    V* place = stepped(line_, output * step_);
    V left[kPixels];
    BOXCONV_UNROLL for (int k = 0; k < kPixels; ++k, place = stepped(place, step_)) {
      left[k] = kAnyShort && k >= sums.split ? sums.far : sums.near;
      if (stored >> k & 1) left[k] = *place;
    }
    place = stepped(line_, output * step_);
    V prefix = kAnyShort ? sums.before : V{0};
    const Bits borders = kAnyShort ? reversed_bits(sums.borders) : 0;
    BOXCONV_UNROLL for (int k = 0; k < kPixels; ++k, place = stepped(place, step_)) {
      if (kAnyShort && borders >> (63 - k) & 1) prefix = 0;
      V sum = left[k];
      if (w_.middle >= 0) sum += w_.last_weight * pixels[k];
      if (has_middle) sum += w_.weight * prefix;
      prefix += pixels[k];
      if (exist >> k & 1) *place = sum;
    }
  }

  const ChunkPlace at_;
  const LineWindow<V> w_;
  V* const line_;
  const int step_;  // in bytes
  const int length_;
  const bool exists_;
};

// Replaces lines by the sums of their channel's window. All threads of the block must call it. The
// result is complete after the next barrier.
template <typename V>
BOXCONV_DEVICE void scan_lines(const Lines<V>& lines, const LineWindow<V>* windows) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int chunks = lines.length / kChunk<V> + 1;  // the last one extends beyond the line
  const int at_once = kWarp / chunks;
  // A warp takes lines that are as many lines apart as a line has chunks. Since the strides and the
  // chunk length are odd, its lanes then access 32 different banks.
  const int few = (lines.count + at_once - 1) / at_once, spacing = few < chunks ? few : chunks;
  const Divisor by_spacing(spacing), by_channel(lines.of_channel);
  const int bunches = (lines.count + spacing * at_once - 1) / (spacing * at_once);
  const ChunkPlace place{lane, lane % chunks, chunks};
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  for (int i = static_cast<int>(threadIdx.x) / kWarp; i < bunches * spacing; i += warps) {
    const int units_at_once = by_spacing.quotient(i);
    const int line =
        (units_at_once * at_once + lane / chunks) * spacing + (i - units_at_once * spacing);
    const bool exists = lane < at_once * chunks && line < lines.count;
    const int channel = exists ? by_channel.quotient(line) : 0;
    const int of_channel = exists ? line - channel * lines.of_channel : 0;
    V* data = lines.data + channel * lines.channel_stride + of_channel * lines.line_stride;
    LineScan<V>(place, windows[channel], data, lines.pixel_stride, lines.length, exists).run();
  }
}

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_BOX_CONV_LINES_CUH_
