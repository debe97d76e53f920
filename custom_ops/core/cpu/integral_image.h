// The integral image (summed-area table) of each plane.
#ifndef BOXCONV_CORE_CPU_INTEGRAL_IMAGE_H_
#define BOXCONV_CORE_CPU_INTEGRAL_IMAGE_H_

#include "core/base/half.h"
#include "core/base/problem.h"
#include "core/cpu/convert.h"
#include "core/cpu/scratch.h"
#include "core/cpu/tiling.h"

namespace boxconv {
namespace BOXCONV_ISA {

// Computes the integral images of `count` interleaved planes: pixel i of plane c is
// input[i * stride + c], and likewise in `table`. `column_sums` is scratch memory for
// (width + 1) * count values.
template <typename T, typename TTable>
void interleaved_integral_images(Index height, Index width, Index count, Index stride,
                                 const T* input, double* column_sums, TTable* table) {
  double row_sums[kIntegralImageChannels];
  // Halves are converted here, several at once if the processor can.
  using V = typename PlaneType<T>::type;
  constexpr bool kConvertsFirst = std::is_same<T, Half>::value && kLoadsAsFloats<T>;
  V converted[kIntegralImageChannels];
  for (Index i = 0; i < (width + 1) * count; ++i) column_sums[i] = 0;
  for (Index x = 0; x <= width; ++x) {
    for (Index c = 0; c < count; ++c) table[x * stride + c] = 0;
  }
  for (Index y = 0; y < height; ++y) {
    TTable* row = table + (y + 1) * (width + 1) * stride;
    for (Index c = 0; c < count; ++c) {
      row_sums[c] = 0;
      row[c] = 0;
    }
    for (Index x = 0; x < width; ++x) {
      const T* pixel = input + (y * width + x) * stride;
      if constexpr (kConvertsFirst) convert_values(pixel, count, converted);
      double* sums = column_sums + (x + 1) * count;
      TTable* entry = row + (x + 1) * stride;
      for (Index c = 0; c < count; ++c) {
        row_sums[c] += kConvertsFirst ? converted[c] : widen(pixel[c]);
        sums[c] += row_sums[c];
        entry[c] = static_cast<TTable>(sums[c]);
      }
    }
  }
}

// Computes the integral images of the channel groups `begin` to `end` - 1. The groups of all images
// are numbered in sequence: group i is group i % groups of image i / groups. Returns false if there
// is not enough memory.
template <typename T, typename TTable>
bool integral_image_planes(const IntegralImageProblem& p, const T* input, TTable* table,
                           Index begin, Index end) {
  const bool channels_first = p.layout == Layout::kChannelsFirst;
  const Index pixels = p.height * p.width, entries = (p.height + 1) * (p.width + 1);
  const Index group_channels = channels_first ? 1 : kIntegralImageChannels;
  Scratch scratch;
  double* column_sums = nullptr;
  const bool ok = scratch.allocate(
      [&] { column_sums = scratch.array<double>((p.width + 1) * group_channels); });
  if (!ok) return false;
  const Index groups = integral_image_groups(p);
  for (Index i = begin; i < end; ++i) {
    const Index image = i / groups, channel = i % groups * group_channels;
    const Index count = min_index(p.channels - channel, group_channels);
    interleaved_integral_images(
        p.height, p.width, count, channels_first ? 1 : p.channels,
        input + image * p.channels * pixels + (channels_first ? channel * pixels : channel),
        column_sums,
        table + image * p.channels * entries + (channels_first ? channel * entries : channel));
  }
  return true;
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_INTEGRAL_IMAGE_H_
