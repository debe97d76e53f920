// Plans 1x1 convolutions and their kernel gradients.
//
// Like other plans (tiling.h), these depend only on the problem, so that the results do not depend
// on the number of threads.
#ifndef BOXCONV_CORE_CPU_CHANNEL_MIXING_H_
#define BOXCONV_CORE_CPU_CHANNEL_MIXING_H_

#include "core/base/problem.h"

namespace boxconv {

// The channels of each pixel, multiplied by a matrix. Pixels are taken in blocks, each within one
// image.
struct ChannelMixing {
  // The pixels of a block: a multiple of the rows of a tile and of the columns of a panel
  // (matrix_product.h).
  static constexpr Index kBlockPixels = 96;

  Layout layout;
  Index images, pixels;  // pixels of an image
  Index in_channels, out_channels;
  // The matrix is [out_channels, in_channels] instead of [in_channels, out_channels].
  bool transposed = false;
  // The products are added to the output, instead of to the bias.
  bool adds = false;

  Index blocks_per_image() const { return (pixels + kBlockPixels - 1) / kBlockPixels; }
  Index block_count() const { return images * blocks_per_image(); }
};

// Channels-last pixels lie one after the other, as if they were those of a single image.
inline ChannelMixing channel_mixing(Layout layout, Index images, Index pixels, Index in_channels,
                                    Index out_channels) {
  if (layout == Layout::kChannelsLast) {
    pixels *= images;
    images = images > 0 ? 1 : 0;
  }
  return {layout, images, pixels, in_channels, out_channels, false, false};
}

// Sums of the gradients of a matrix [in_channels, out_channels] and of the bias, in parts that lie
// `stride` values apart.
struct KernelTotals {
  double* kernel;
  double* bias;  // null: the gradient of the bias is not wanted
  Index stride;
};

// The gradient of a matrix is a sum over all pixels. A unit of work computes some rows of the
// gradient for one part of the pixels.
class KernelGradientPlan {
 public:
  KernelGradientPlan(Index in_channels, Index out_channels, Index parts)
      : in_channels_(in_channels),
        out_channels_(out_channels),
        parts_(parts),
        rows_(clamp_index(kMaxUnitValues / max_index(out_channels, 1), 12, 192)) {}

  // The largest number of parts whose gradients do not take too much memory, for a matrix with
  // `size` values.
  static Index max_parts(Index size) {
    constexpr Index kMaxParts = 16, kMaxValues = Index{1} << 19;
    return clamp_index(kMaxValues / max_index(size, 1), 1, kMaxParts);
  }

  Index out_channels() const { return out_channels_; }
  Index parts() const { return parts_; }
  Index row_groups() const { return max_index((in_channels_ + rows_ - 1) / rows_, 1); }
  Index unit_count() const { return parts_ * row_groups(); }

  Index part(Index unit) const { return unit / row_groups(); }
  Index first_row(Index unit) const { return unit % row_groups() * rows_; }
  Index max_rows() const { return min_index(rows_, in_channels_); }
  Index row_count(Index unit) const { return min_index(rows_, in_channels_ - first_row(unit)); }

 private:
  // The rows of a unit should stay in the second-level cache.
  static constexpr Index kMaxUnitValues = 192 * 256;

  Index in_channels_, out_channels_, parts_, rows_;
};

}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_CHANNEL_MIXING_H_
