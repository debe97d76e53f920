// The integral-image kernel: the summed-area table itself, for callers who want it.
#ifndef BOXCONV_CORE_INTEGRAL_IMAGE_H_
#define BOXCONV_CORE_INTEGRAL_IMAGE_H_

#include "core/box_conv.h"
#include "core/half.h"
#include "core/scratch.h"

namespace boxconv {
namespace BOXCONV_ISA {

// Channels-last tables are summed for this many neighbouring channels at a time.
constexpr Index kIntegralImageChannels = 32;

inline Index integral_image_units_per_image(const IntegralImageProblem& p) {
  return p.layout == Layout::kChannelsFirst
             ? p.channels
             : (p.channels + kIntegralImageChannels - 1) / kIntegralImageChannels;
}

// `count` interleaved planes, whose pixels lie `step` values apart in input and table.
template <typename T, typename TTable>
void interleaved_tables(Index height, Index width, Index count, Index step, const T* input,
                        double* above, TTable* table) {
  double sums[kIntegralImageChannels];
  for (Index i = 0; i < (width + 1) * count; ++i) above[i] = 0;
  for (Index x = 0; x <= width; ++x) {
    for (Index c = 0; c < count; ++c) table[x * step + c] = 0;
  }
  for (Index y = 0; y < height; ++y) {
    TTable* row = table + (y + 1) * (width + 1) * step;
    for (Index c = 0; c < count; ++c) {
      sums[c] = 0;
      row[c] = 0;
    }
    for (Index x = 0; x < width; ++x) {
      const T* pixel = input + (y * width + x) * step;
      double* previous = above + (x + 1) * count;
      TTable* target = row + (x + 1) * step;
      for (Index c = 0; c < count; ++c) {
        sums[c] += load(pixel[c]);
        previous[c] += sums[c];
        target[c] = static_cast<TTable>(previous[c]);
      }
    }
  }
}

template <typename T, typename TTable>
bool integral_image_units(const IntegralImageProblem& p, const T* input, TTable* table, Index begin,
                          Index end) {
  const bool first = p.layout == Layout::kChannelsFirst;
  const Index pixels = p.height * p.width, entries = (p.height + 1) * (p.width + 1);
  const Index block = first ? 1 : kIntegralImageChannels;
  Scratch scratch;
  const auto above = scratch.claim<double>((p.width + 1) * block);
  if (!scratch.allocate()) return false;
  const Index per_image = integral_image_units_per_image(p);
  for (Index unit = begin; unit < end; ++unit) {
    const Index image = unit / per_image, channel = unit % per_image * block;
    const Index left = p.channels - channel, count = left < block ? left : block;
    interleaved_tables(
        p.height, p.width, count, first ? 1 : p.channels,
        input + image * p.channels * pixels + (first ? channel * pixels : channel),
        scratch.data(above),
        table + image * p.channels * entries + (first ? channel * entries : channel));
  }
  return true;
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_INTEGRAL_IMAGE_H_
